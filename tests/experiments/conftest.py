"""An experiment that pretends."""

from __future__ import annotations

import pytest

from experiments.pretending import Pretend
from unmask.experiments import command, frame, table
from unmask.experiments.frame import Experiment


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    one = Experiment("pretend", "A | claim.", dict.fromkeys(frame.SIZES, "1 min"), {"settings": {"a": 1}})
    monkeypatch.setattr(Experiment, "module", property(lambda self: Pretend()))
    monkeypatch.setattr(frame, "experiments", lambda: {"pretend": one})
    monkeypatch.setattr(table, "experiments", lambda: {"pretend": one})
    monkeypatch.setattr(command, "experiments", lambda: {"pretend": one})
    return one
