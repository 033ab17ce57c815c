"""What a revision may do by its hooks, shown by rules of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from decoding.oracle import SHARP, oracle
from unmask.decoding import generate
from unmask.decoding.rules.registry import parameter
from unmask.decoding.rules.revise import REVISIONS, Before, Revision, Step
from unmask.decoding.state.turn import Turn

SHOWN = 5 << 40  # a stream of noise of this rule's own


@dataclass(frozen=True)
class Shows(Revision):
    """Open positions show random tokens in every pass; what is written is taken back as long as it is unlikely."""

    least: float = parameter(0.0, 0.0, 1.0)

    def before(self, turn: Turn) -> Before:
        return Before(shows_RL=(turn.uniforms(SHOWN) * SHARP.size).long())

    def after(self, step: Step) -> None:
        unsure_RL = step.turn.canvas.probability_BL[step.turn.rows_R] < self.least
        step.reopen_RL = step.turn.committed_RL & unsure_RL & ~step.turn.last_R[:, None]


@pytest.fixture
def shows() -> Iterator[None]:
    REVISIONS.register("shows")(Shows)
    yield
    del REVISIONS["shows"]


def test_an_open_position_holds_what_it_shows(shows: None) -> None:
    """The network sees no mask, and what is open is known all the same."""
    model, seen = oracle(SHARP, context=64), []
    hidden = model.network.hidden
    model.network.hidden = lambda tokens, **how: (seen.append(tokens.clone()), hidden(tokens, **how))[1]
    options = {"length": 12, "order": "confidence", "quota": "even", "steps": 4, "seed": 3}
    found = generate(model, [[1, 2], [3]], revise="shows", **options)
    inside = [tokens[0, :14] for tokens in seen]
    assert len(inside) == 4 and all(int((row == model.mask_id).sum()) == 0 for row in inside)
    assert not torch.equal(inside[0], inside[1])
    for g in found:
        assert model.mask_id not in g.canvas and g.nfe == 4
        assert all(event["token"] != model.mask_id for event in g.trace or [])
    assert found[1] == generate(model, [[3]], revise="shows", **{**options, "seed": [(3, 1)]})[0]


def test_what_is_taken_back_is_told(shows: None) -> None:
    model = oracle(SHARP, context=64)
    (g,) = generate(model, [[1]], length=12, order="random", quota="even", steps=8, revise="shows:0.5")
    assert any(event["token"] == model.mask_id for event in g.trace or []) and model.mask_id not in g.canvas


def test_a_rule_without_hooks_changes_nothing() -> None:
    model = oracle(SHARP, context=64)
    REVISIONS.register("nothing")(Revision)
    try:
        options = {"length": 9, "order": "margin", "quota": "even", "steps": 5}
        assert generate(model, [[1]], revise="nothing", **options) == generate(model, [[1]], **options)
    finally:
        del REVISIONS["nothing"]
