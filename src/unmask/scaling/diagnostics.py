"""What stands against a fit: parabolas that open the wrong way, grids too narrow, runs that stray, seeds that disagree.

diagnostics_of(sweep)       # [{"objective", "flops", "problem", "says"}]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from unmask.scaling.isoflop import FEWEST_SIZES, budgets_of
from unmask.scaling.sweep_fit import ObjectiveFit, SweepFit

FAR = 6.0  # robust standard deviations about the law or the parabolas
FEW_BUDGETS = 3
EDGE = 0.15  # of the range of sizes: a minimum that near to an end is hardly bracketed


def diagnostics_of(sweep: SweepFit) -> list[dict[str, Any]]:
    """In the order of objectives and budgets; empty where nothing stands against the fit."""
    return [row for fit in sweep.objectives.values() for row in (*_budgets(fit), *_whole(fit), *_strays(fit))]


def _row(fit: ObjectiveFit, flops: float | None, problem: str, says: str) -> dict[str, Any]:
    return {"objective": fit.name, "flops": flops, "problem": problem, "says": says}


def _budgets(fit: ObjectiveFit) -> Iterator[dict[str, Any]]:
    """Of each budget that was run at several sizes."""
    minima, runs = fit.minima, fit.runs
    flops_K, index_R = budgets_of(runs.flops)
    repeated = minima is not None or 2 * len(flops_K) <= len(runs)
    shared = [k for k in range(len(flops_K)) if repeated and np.sum(index_R == k) > 1]
    for k in shared:
        sizes = np.unique(runs.params[index_R == k])
        if len(sizes) < FEWEST_SIZES:
            words = f"{len(sizes)} size(s), and a parabola takes {FEWEST_SIZES}; add sizes at this budget"
            yield _row(fit, float(flops_K[k]), "too few sizes", words)
    if minima is None:
        return
    for k, flops in enumerate(minima.flops_K):
        x = np.log(runs.params[minima.budget_R == k])
        at = (minima.log_params[k] - x.min()) / (x.max() - x.min())
        if not minima.opens[k]:
            words = "the parabola opens downward: no minimum; left out of the lines"
            yield _row(fit, float(flops), "opens the wrong way", words)
        elif not minima.spans[k]:
            side = "below the smallest" if at < 0 else "above the largest"
            words = f"the minimum lies {side} size; left out of the lines"
            yield _row(fit, float(flops), "grid too narrow", words)
        elif not EDGE <= at <= 1 - EDGE:
            words = f"the minimum is close to the {'smallest' if at < 0.5 else 'largest'} size; add sizes beyond"
            yield _row(fit, float(flops), "grid too narrow", words)


def _whole(fit: ObjectiveFit) -> Iterator[dict[str, Any]]:
    counted = 0 if fit.minima is None else int(fit.minima.counts.sum())
    if fit.lines is None:
        yield _row(fit, None, "no lines", fit.why.get("approach2", "it could not be fitted"))
    elif counted < FEW_BUDGETS:
        words = f"{counted} budgets give a line, and nothing tells whether it is one; add a budget"
        yield _row(fit, None, "few budgets", words)
    if fit.scatter is not None and fit.scatter.agrees is False:
        words = (
            f"runs scatter by {fit.scatter.residual:.4f} nats about the parabolas, repeated seeds by "
            f"{fit.scatter.seed:.4f}: "
            + ("sizes or settings differ by more than noise" if fit.scatter.residual > fit.scatter.seed else "few runs")
        )
        yield _row(fit, None, "scatter is not that of the seeds", words)


def _strays(fit: ObjectiveFit) -> Iterator[dict[str, Any]]:
    """Runs far from the parabolas, or where there are none from the law of approach 3."""
    runs, law = fit.runs, fit.laws.get("own")
    if fit.minima is not None:
        off_R = runs.loss - fit.minima.fitted_R
    elif law is not None:
        off_R = runs.loss - law.loss(runs.params, runs.tokens)
    else:
        return
    known = np.isfinite(off_R)
    spread = 1.4826 * float(np.median(np.abs(off_R[known] - np.median(off_R[known]))))
    for i in np.flatnonzero(known & (np.abs(off_R) > FAR * max(spread, 1e-9))):
        words = (
            f"{runs.where[i]}: {runs.params[i]:.4g} parameters, loss {runs.loss[i]:.4f}, {off_R[i]:+.4f} from the fit "
            f"({abs(off_R[i]) / spread:.0f} times the scatter); did it diverge? --exclude leaves it out"
        )
        yield _row(fit, float(runs.flops[i]), "a run strays", words)
