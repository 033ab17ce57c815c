"""What stands against a fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scaling.fitting import fitted, table
from scaling.synthetic import SIZES, law_of, runs_of, sweep


def test_too_few_budgets_or_sizes_say_what_is_missing(tmp_path: Path) -> None:
    law = law_of("arm")
    params = np.array(SIZES[2:7])
    one = runs_of("arm", np.full(5, 8e12), params, law.loss(params, 8e12 / 6 / params))
    found = fitted(table(tmp_path, one))
    assert "two budgets" in found["approach2"]["arm"]["why"] and "2 budgets or more" in found["approach3"]["arm"]["why"]
    flops = np.repeat([1e12, 4e12, 1.6e13], 2)
    two = runs_of(
        "arm", flops, np.tile(params[:2], 3), law.loss(np.tile(params[:2], 3), flops / 6 / np.tile(params[:2], 3))
    )
    found = fitted(table(tmp_path, two))
    assert any(row["problem"] == "too few sizes" for row in found["diagnostics"])
    assert "3 sizes" in found["approach3"]["arm"]["why"]


def test_diagnostics_name_narrow_grids_wrong_ways_and_strays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs, law = sweep("arm", rng, 0.002)
    narrow = np.array(SIZES[:4])
    more = runs_of("arm", np.full(4, 2.56e14), narrow, law.loss(narrow, 2.56e14 / 6 / narrow))
    wrong = runs_of("arm", np.full(4, 1e15), narrow, [2.1, 2.2, 2.21, 2.1])
    runs.loss[8] += 0.2
    found = fitted(table(tmp_path, runs, more, wrong))
    problems = {(row["problem"], row["flops"]) for row in found["diagnostics"]}
    assert ("grid too narrow", 2.56e14) in problems and ("opens the wrong way", 1e15) in problems
    assert any(problem == "a run strays" for problem, _ in problems)
    counts = {row["flops"]: row["counts"] for row in found["minima"]["arm"]}
    assert not counts[2.56e14] and not counts[1e15] and counts[8e12]
