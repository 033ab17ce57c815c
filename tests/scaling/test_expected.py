"""Half-widths to expect from a planned grid: of the size that is known for our own, wider with less, silent without."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.synthetic import GRIDS, SIZES
from unmask.scaling import expected
from unmask.scaling.expected import half_widths
from unmask.scaling.isoflop import fit_lines, fit_parabolas
from unmask.scaling.options import PlanOptions
from unmask.scaling.plan import in_words, plan


def planned(kind: str, least: float = 0.0, seeds: int = 2) -> list[dict]:
    """Our own grid, by 6 N D, as a plan has it."""
    rows = []
    for flops, first, last, most in GRIDS[kind]:
        for params in SIZES[first : last + 1] if flops >= least else ():
            run = {"objective": kind, "params": params, "tokens": flops / 6 / params, "budget": flops, "flops": flops}
            rows += [{**run, "seed": seed} for seed in range(min(most, seeds))]
    return rows


def test_our_own_grid_has_the_half_widths_that_it_was_made_for() -> None:
    found = half_widths(planned("arm") + planned("mdm"))
    assert 0.02 < found["arm N* exponent"] < 0.06 and 0.03 < found["mdm N* exponent"] < 0.07
    assert 0.001 < found["arm L* exponent"] < 0.004 and 0.002 < found["mdm L* exponent"] < 0.005
    assert 4 < found["gap, %"] < 12
    assert len(found) == 5


def test_they_are_what_the_estimates_scatter_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 95% interval is about 1.96 standard deviations to either side: here of 300 simulated sweeps."""
    told = half_widths(planned("arm"))["arm N* exponent"]
    table = expected._table(planned("arm"))
    laws, rng = expected._laws(table), np.random.default_rng(1)
    found = []
    for _ in range(300):
        runs = expected._simulated(table, laws, rng)
        minima = fit_parabolas(runs.flops, runs.params, runs.loss, expected.Cost())
        found.append(fit_lines(minima).n_exponent)  # type: ignore[arg-type, union-attr]
    assert told == pytest.approx(1.96 * np.std(found), rel=0.3)


def test_the_law_is_best_in_the_middle_of_each_budgets_sizes() -> None:
    table = expected._table(planned("arm"))
    law = expected._laws(table)["arm"]
    flops_K, middle_K = expected._middles(table)
    best_K = law.optimum(flops_K, expected.Cost()).params
    assert np.abs(np.log(best_K / middle_K)).max() < 0.4
    assert float(law.loss(middle_K, flops_K / 6 / middle_K).mean()) == pytest.approx(2.0 + 1.8, abs=0.2)


def test_with_fewer_budgets_they_are_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "SWEEPS", 20)
    whole, part = half_widths(planned("arm")), half_widths(planned("arm", least=1e13))
    assert part["arm N* exponent"] > 1.5 * whole["arm N* exponent"]


def test_what_a_grid_cannot_give_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "SWEEPS", 4)
    assert half_widths([]) == {}
    assert half_widths(planned("arm", least=6e13)) == {}, "one budget"
    two_sizes = [run for run in planned("arm") if run["params"] in SIZES[3:5]]
    assert half_widths(two_sizes) == {}
    apart = half_widths([run for run in planned("arm") if run["flops"] < 3e12] + planned("mdm", least=1e14))
    assert "gap, %" not in apart and "mdm L* exponent" in apart


def test_branches_of_a_trunk_share_their_noise() -> None:
    rows = [{**run, "trunk": f"trunk-{run['params']}"} for run in planned("arm", seeds=1)]
    table = expected._table(rows)
    law = expected._laws(table)["arm"]
    runs = expected._simulated(table, {"arm": law}, np.random.default_rng(0))
    off = runs.loss - law.loss(runs.params, runs.tokens)
    for trunk in set(runs.trunk):
        assert np.ptp(off[runs.trunk == trunk]) < 1e-12


def test_a_plan_says_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "SWEEPS", 4)
    sizes = ["48x2", "64x3", "96x3", "128x4"]
    found = plan(PlanOptions(vocab=1024, objective=["arm"], flops=["1e13", "2e13", "4e13"], size=sizes))
    assert set(found["expected"]) == {"arm N* exponent", "arm L* exponent"}
    assert f"(95%) of arm N* exponent: ±{found['expected']['arm N* exponent']:.3g}" in in_words(found)
