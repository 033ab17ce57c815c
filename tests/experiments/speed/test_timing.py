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
Call = tuple[str, tuple[int, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Who wrote for which prompts; writing moves a clock of our own."""
    made: list[Call] = []
    now = [0.0]

    def generate(self: timing.Writer, prompts: Any, length: int, seed: int) -> list[SimpleNamespace]:
        assert not self.banned
        role = str(self.model)
        made.append((role, tuple(prompt[0] for prompt in prompts)))
        now[0] += COST[role] if len(made) > 2 else 100.0  # cold calls are slow, and in no figure
        return [SimpleNamespace(nfe=length if role == "arm" else 3) for _ in prompts]

    monkeypatch.setattr(timing.Writer, "generate", generate)
    monkeypatch.setattr(clock, "clock", lambda threads: now[0])
    return made


def test_ratios_are_taken_within_rounds_of_the_same_prompts(calls: list[Call]) -> None:
    plan = dataclasses.replace(quick_plan(*SMALL), rounds=2, batches=[2])
    settings = {"arm": [Setting("ARM")], "mdm": [Setting("even")]}
    store, models = RequestStore(None, {}), {"arm": "arm", "mdm": "mdm"}

    def measured() -> dict[str, dict[str, Any]]:
        return timings(store, models, settings, [[7], [8], [9]], plan)["2"]  # type: ignore[arg-type]

    found = measured()
    assert found["arm: ARM"]["ratio"]["median"] == 1 and found["mdm: even"]["ratio"]["median"] == 0.5
    assert (found["mdm: even"]["seconds"], found["mdm: even"]["passes"]) == (2, 3)
    assert calls[2:] == [("arm", (7, 8)), ("mdm", (7, 8)), ("mdm", (9, 7)), ("arm", (9, 7))], "who begins changes"
    assert measured() == found and len(calls) == 6
