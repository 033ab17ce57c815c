"""Types and times of a plan's runs from what was measured, here made up."""

from __future__ import annotations

import dataclasses

import pytest

from unmask.errors import UserError
from unmask.scaling.parts import spec_of
from unmask.scaling.rates import best_type, layout, measured, timed
from unmask.scaling.runs import Facts, PlannedRun, planned_runs
from unmask.training.fastest import Arm


def arm(precision: str, compile: bool, rate: float, starts: float = 0.0, layout: tuple[int, int] = (2, 1)) -> Arm:
    processes, threads = layout
    return Arm(precision, compile, threads, processes, rate, rate, rate, 1.0, starts, None, "")


def planned(**changes: object) -> list[PlannedRun]:
    parts = [{"part": "p", "objective": "arm", "sizes": ["16x2"], "tokens": [2**14, 2**20], **changes}]
    return planned_runs(spec_of({"vocab": 64, "context": 16, "parts": parts}, "x"), Facts(64))


SPEC = spec_of({"vocab": 64, "context": 16, "precision": "auto"}, "x")


def test_one_type_serves_all_runs_the_one_in_which_they_take_least() -> None:
    runs = planned(sizes=["16x2", "32x2"])
    small, large = ("arm", "16x2"), ("arm", "32x2")
    arms = {
        small: [arm("fp32", False, 1000.0), arm("bf16", False, 500.0)],
        large: [arm("fp32", False, 100.0), arm("bf16", False, 200.0)],
    }
    assert best_type(runs, arms) == "bf16"  # the large ones take most of the time
    arms[large] = arms[large][:1]
    assert best_type(runs, arms) == "fp32"  # a type that was not measured everywhere is none


def test_long_runs_are_compiled_and_short_ones_not() -> None:
    short, long = planned()
    spec = dataclasses.replace(SPEC, precision="fp32")
    arms = [arm("fp32", False, 2000.0), arm("fp32", True, 4000.0, starts=60.0), arm("bf16", True, 1e9)]
    found = [timed(spec, run, arms) for run in (short, long)]
    assert [run.compile for run in found] == [False, True]
    assert found[1].seconds > 60 + long.tokens / 2000  # of one process: half of the machine's rate
    eager = dataclasses.replace(spec, compile=False)
    assert timed(eager, long, arms).compile is False
    assert timed(spec, long, arms[2:]).seconds is None  # nothing was measured in its type


def test_only_the_plans_layout_counts() -> None:
    other = arm("fp32", False, 9.0, layout=(1, 2))
    assert layout([arm("fp32", False, 5.0), other, arm("bf16", False, 0.0)], SPEC) == [arm("fp32", False, 5.0)]


def test_measuring_needs_data() -> None:
    with pytest.raises(UserError, match="--seconds measures real steps, which needs data; give --data FOLDER"):
        measured(SPEC, planned(), 1.0)
