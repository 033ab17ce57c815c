"""Where tokens may be written: blocks under both of their names, and a rule of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from decoding.oracle import SHARP, oracle
from unmask.decoding import ORDERS, generate
from unmask.decoding.rules.eligible import ELIGIBLE, Eligibility
from unmask.decoding.rules.registry import parameter
from unmask.decoding.state.turn import Turn
from unmask.errors import UserError
from unmask.model.folder import Model

MODEL = oracle(SHARP, context=64)


@dataclass(frozen=True)
class First(Eligibility):
    """The first few open positions."""

    narrows = True
    count: float = parameter(3, 1, whole=True)

    def within(self, turn: Turn) -> torch.Tensor:
        return turn.open_RL & (turn.open_RL.cumsum(1) <= self.count)


@pytest.fixture
def first() -> Iterator[None]:
    ELIGIBLE.register("first")(First)
    yield
    del ELIGIBLE["first"]


def test_block_is_short_for_a_rule(mdm: Model) -> None:
    options = {"length": 20, "order": "margin", "quota": "even", "steps": 12, "cache": "dual"}
    by_number = generate(mdm, [[1], [2, 3]], block=[6, 7], **options)
    assert by_number == generate(mdm, [[1], [2, 3]], eligible=["block:6", "block:size=7"], **options)
    assert generate(mdm, [[1]], eligible="all", **options) == generate(mdm, [[1]], **options)


def test_what_does_not_go_together(mdm: Model, arm: Model) -> None:
    with pytest.raises(UserError, match="block is short for eligible 'block:4'; leave out one of the two"):
        generate(mdm, [[1]], length=8, block=4, eligible="all")
    with pytest.raises(UserError, match="eligible 'blok' is unknown.*did you mean 'block'.*give one of all, block"):
        generate(mdm, [[1]], length=8, eligible="blok")
    with pytest.raises(UserError, match="eligible block: size is 0; give a whole number of at least 1"):
        generate(mdm, [[1]], length=8, eligible="block:0")
    with pytest.raises(UserError, match="eligible needs a masked diffusion model"):
        generate(arm, [[1]], length=8, eligible="block:4")


@pytest.mark.parametrize("order", list(ORDERS))
@pytest.mark.parametrize("quota", ["even", "threshold:0.3"])
def test_a_narrow_window_holds_whatever_the_order(first: None, order: str, quota: str) -> None:
    """Of the open positions the first three alone are written in a step, until the last one, which writes all."""
    rules = {} if ORDERS[order].own_quota else {"quota": quota}
    rules |= {"steps": 16} if order != "first-hitting" and rules.get("quota") != "threshold:0.3" else {}
    found = generate(MODEL, [[1], [2, 2]], length=12, order=order, eligible="first:3", seed=4, **rules)
    for g in found:
        assert MODEL.mask_id not in g.canvas
        left = list(g.positions)
        for step in sorted(set(g.steps)):
            written = {event["position"] for event in g.trace or [] if event["step"] == step}
            assert written <= set(left[:3]) or step == 15
            left = [position for position in left if position not in written]
    (alone,) = generate(MODEL, [[2, 2]], length=12, order=order, eligible="first:3", seed=[(4, 1)], **rules)
    assert alone == found[1]
