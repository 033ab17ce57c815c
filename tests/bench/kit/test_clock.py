"""Seconds of a call."""

from __future__ import annotations

import time

import pytest
import torch

from unmask.bench.kit import clock as module
from unmask.bench.kit.clock import clock, timed


def test_with_one_thread_what_else_runs_does_not_count() -> None:
    before, wall = clock(1), clock(2)
    time.sleep(0.05)
    assert clock(1) - before < 0.04 and clock(2) - wall >= 0.05


def test_a_call_is_timed_at_pytorchs_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ticks(threads: int) -> float:
        asked.append(threads)
        return 1.5 * len(asked)

    monkeypatch.setattr(module, "clock", ticks)
    assert timed(lambda: "done") == ("done", 1.5)
    assert asked == [torch.get_num_threads()] * 2
