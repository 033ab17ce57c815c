"""Times over the ARM's: arms in turns on the same prompts, and no round twice."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from unmask.bench.decode.settings import Setting
from unmask.bench.kit import clock
from unmask.evaluation.request_store import RequestStore
from unmask.experiments.speed import timing
from unmask.experiments.speed.timing import timings

from .conftest import SMALL, quick_plan

COST = {"arm": 4.0, "mdm": 2.0}  # seconds a call
COLD = 2  # first calls, one an arm
MODELS: Any = {role: SimpleNamespace(role=role, device="cpu") for role in COST}
Call = tuple[str, tuple[int, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Who wrote for which prompts; writing moves a clock of our own."""
    made: list[Call] = []
    now = [0.0]

    def generate(self: timing.Writer, prompts: Any, length: int, seed: int) -> list[SimpleNamespace]:
        assert not self.banned
        role = self.model.role  # type: ignore[attr-defined]
        made.append((role, tuple(prompt[0] for prompt in prompts)))
        now[0] += COST[role] if len(made) > COLD else 100.0  # cold calls are slow, and in no figure
        return [SimpleNamespace(nfe=length if role == "arm" else 3) for _ in prompts]

    monkeypatch.setattr(timing.Writer, "generate", generate)
    monkeypatch.setattr(clock, "clock", lambda threads: now[0])
    return made


def test_ratios_are_taken_within_rounds_of_the_same_prompts(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(quick_plan(*SMALL), rounds=2, batches=[2], timed_texts=1)
    settings = {"arm": [Setting("ARM")], "mdm": [Setting("even")]}
    store, models = RequestStore(None, {}), MODELS

    def measured() -> dict[str, dict[str, Any]]:
        return timings(store, models, settings, [[7], [8], [9]], plan)["2"]

    found = measured()
    ratio = found["mdm: even"]["ratio"]
    assert found["arm: ARM"]["ratio"]["median"] == 1
    assert (ratio["low"], ratio["median"], ratio["high"]) == (0.5, 0.5, 0.5)
    assert (found["mdm: even"]["seconds"], found["mdm: even"]["passes"]) == (2, 3)
    assert len(found["arm: ARM"]["load"]) == 2 and found["arm: ARM"]["load"][0] >= 0
    assert calls[:COLD] == [("arm", (7, 8)), ("mdm", (7, 8))], "warm at the batch's own shape"
    first = [("arm", (7, 8)), ("arm", (7, 8)), ("mdm", (7, 8)), ("arm", (7, 8))]
    assert calls[COLD : COLD + 4] == first, "the ARM first, in the middle and last"
    assert {rows for _, rows in calls[COLD + 4 :]} == {(9, 7)} and len(calls) == COLD + 8
    assert measured() == found and len(calls) == COLD + 8
    monkeypatch.setattr(timing, "machine", lambda: "another, 64 cores")
    measured()
    assert len(calls) > COLD + 8, "on another machine its rounds are taken anew"


def test_batch_one_writes_for_several_prompts(calls: list[Call]) -> None:
    plan = dataclasses.replace(quick_plan(*SMALL), rounds=1, batches=[1], timed_texts=3)
    settings = {"arm": [Setting("ARM")], "mdm": [Setting("even")]}
    found = timings(RequestStore(None, {}), MODELS, settings, [[7], [8]], plan)["1"]
    assert [rows for role, rows in calls[COLD:] if role == "mdm"] == [(7,), (8,), (7,)]
    assert found["mdm: even"]["seconds"] == 2 and found["mdm: even"]["ratio"]["median"] == 0.5
