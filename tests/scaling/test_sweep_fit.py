"""All fits of a sweep: without budgets by approach 3 alone; resampled by runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.fitting import fitted, needs_c4, table
from scaling.synthetic import law_of, runs_of


@needs_c4
def test_c4_intervals_of_run_level_resamples(c4: dict[str, Any]) -> None:
    lines, laws = c4["run_level"]["approach2"], c4["run_level"]["approach3"]
    for found, low, high, within in (
        (lines["arm"]["n_exponent"], 0.486, 0.578, 0.01),
        (lines["mdm"]["n_exponent"], 0.528, 0.596, 0.01),
        (lines["arm"]["loss_exponent"], -0.0558, -0.0536, 4e-4),
        (lines["mdm"]["loss_exponent"], -0.0534, -0.0519, 4e-4),
        (laws["arm"]["E"], 1.85, 2.17, 0.04),
        (laws["mdm"]["E"], 2.02, 2.61, 0.09),
    ):
        assert found["low"] == pytest.approx(low, abs=within) and found["high"] == pytest.approx(high, abs=within)


def test_one_objective_without_budgets_is_fitted_by_approach_3_alone(tmp_path: Path) -> None:
    rng, law = np.random.default_rng(0), law_of("mdm")
    params, tokens = np.exp(rng.uniform(10, 14, 60)), np.exp(rng.uniform(15, 18, 60))
    flops = 6 * params * tokens
    runs = runs_of("mdm", flops, params, law.loss(params, tokens) * np.exp(rng.normal(0, 0.002, 60)), tokens)
    found = fitted(table(tmp_path, runs))
    assert found["approach2"]["mdm"]["n_exponent"]["estimate"] is None
    assert "budgets are not repeated" in found["approach2"]["mdm"]["why"]
    assert found["approach3"]["mdm"]["alpha"]["estimate"] == pytest.approx(law.alpha, abs=0.03)
    assert found["interval"] == "95%, run-level bootstrap" and found["approach3"]["mdm"]["alpha"]["low"] is not None
    assert len(found["gap"]) == 1 and found["gap"][0]["estimate"] is None and "one objective" in found["gap"][0]["why"]
