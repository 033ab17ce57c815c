"""Extrapolation tried out on the largest budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scaling.fitting import fitted, table
from scaling.synthetic import sweep


def test_a_law_with_little_noise_foretells_its_largest_budget(tmp_path: Path) -> None:
    """A line through the lowest losses knows no E and promises too much; the law itself does not."""
    runs, _ = sweep("arm", np.random.default_rng(0), 0.001)
    found = fitted(table(tmp_path, runs), resamples=0)["held_out"]["arm"]
    assert found["flops"] == runs.flops.max()
    line, law = found["approach2"], found["approach3"]
    assert abs(law["error"]) < 0.01 and -0.1 < line["error"] < -0.01
    for one in (line, law):
        assert one["error"] == one["loss"] - found["measured"]["loss"] and 0.5 < one["params_ratio"] < 2


def test_two_budgets_are_too_few(tmp_path: Path) -> None:
    runs, _ = sweep("arm", np.random.default_rng(0), 0.001)
    two = runs.take(runs.flops <= np.unique(runs.flops)[1] * 1.01)
    found = fitted(table(tmp_path, two), resamples=0)["held_out"]["arm"]
    assert found["flops"] is None and "three budgets" in found["why"]
