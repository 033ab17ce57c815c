"""What a report draws and tabulates: runs, parabolas, frontiers with bands, residuals, as plain numbers.

    view["runs"] = runs_of(fit.objectives, left_out)
    view["budgets"]["mdm"] = budgets_of(fit.objectives["mdm"])
    view["frontier"]["mdm"] = frontier_of(fit.objectives["mdm"])

Every value is JSON, so that the pictures can be drawn anew from ``fit.json`` by anything.

Shapes: S draws, C budgets of a drawn line.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmask.scaling.isoflop import Lines
from unmask.scaling.sweep_fit import ObjectiveFit
from unmask.scaling.table import LeftOut

POINTS = 48  # of a drawn line
BELOW, ABOVE = 2.0, 10.0  # how far a frontier is drawn beyond the budgets that were run, times


def runs_of(fitted: Mapping[str, ObjectiveFit], left_out: list[LeftOut]) -> list[dict[str, Any]]:
    """Every run, with its reason where it is left out, and its residuals by approach (measured / fitted - 1)."""
    rows = []
    for name, part in fitted.items():
        residuals: dict[str, np.ndarray] = {}
        if part.minima is not None:
            residuals["approach2"] = part.runs.loss / part.minima.fitted_R - 1
        if (law := part.laws.get("own")) is not None:
            residuals["approach3"] = part.runs.loss / law.loss(part.runs.params, part.runs.tokens) - 1
        for i in range(len(part.runs)):
            own = {key: float(value[i]) for key, value in residuals.items() if math.isfinite(value[i])}
            numbers = {key: float(getattr(part.runs, key)[i]) for key in ("flops", "params", "tokens", "loss")}
            rows.append({"objective": name, **numbers, "excluded": None, "residuals": own})
    for row in left_out:
        if row.loss is not None and math.isfinite(row.loss):
            place = {"flops": row.flops, "params": row.params, "tokens": row.tokens, "loss": row.loss}
            rows.append({"objective": row.objective, **place, "excluded": row.reason, "residuals": {}})
    return rows


def budgets_of(part: ObjectiveFit) -> list[dict[str, Any]]:
    """Each budget's parabola, as a curve between its sizes, and its lowest point."""
    minima = part.minima
    if minima is None:
        return []
    budgets = []
    for k, log_flops in enumerate(minima.log_flops_K):
        here = minima.budget_R == k
        x, y = np.log(part.runs.params[here]), minima.fitted_R[here]
        middle = float(x.mean())
        parabola = np.polyfit(x - middle, y, 2)  # through values that lie on one
        along = np.linspace(x.min(), x.max(), POINTS)
        counts = bool(minima.counts[k])
        why = None if counts else "opens downward" if not minima.opens[k] else "lowest at or beyond its sizes"
        lowest = {
            "params": _number(np.exp(minima.log_params[k])),
            "tokens": _number(np.exp(minima.log_tokens[k])),
            "loss": _number(minima.loss[k]),
        }
        budgets.append(
            {
                "flops": float(np.exp(log_flops)),
                "runs": int(here.sum()),
                **(lowest if minima.opens[k] else dict.fromkeys(lowest)),
                "counts": counts,
                "why": why,
                "curve": [np.exp(along).tolist(), np.polyval(parabola, along - middle).tolist()],
            }
        )
    return budgets


def frontier_of(part: ObjectiveFit, reaching: Sequence[float] = ()) -> dict[str, Any] | None:
    """The lines of approach 2 with their 95% bands, from below the budgets to beyond them; None without lines.

    reaching: FLOPs of later runs, as far as which the lines are drawn.
    """
    if part.lines is None or part.minima is None:
        return None
    low, high = (float(np.exp(part.minima.log_flops_K[end])) for end in (0, -1))
    first, last = min([low / BELOW, *reaching]), max([high * ABOVE, *reaching])
    flops_C = np.unique([*np.geomspace(first, last, POINTS), low, high])
    frontier: dict[str, Any] = {"flops": flops_C.tolist(), "range": [low, high]}
    for which in ("params", "tokens", "loss"):
        estimate_C = np.ravel(getattr(part.lines, which)(flops_C))
        frontier[which] = {"estimate": estimate_C.tolist(), **_band(part.headline.lines, which, flops_C)}
    if (law := part.laws.get("own")) is not None:
        frontier["approach3"] = {
            which: [_number(v) for v in np.ravel(value)]
            for which, value in law.optimum(flops_C, part.cost)._asdict().items()
        }
    return frontier


def _band(draws: Lines | None, which: str, flops_C: np.ndarray) -> dict[str, list[float | None]]:
    if draws is None:
        return {"low": [None] * len(flops_C), "high": [None] * len(flops_C)}
    drawn_SC = getattr(draws, which)(flops_C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of nan alone is nan
        low_C, high_C = np.nanpercentile(drawn_SC, [2.5, 97.5], axis=0)
    return {"low": [_number(v) for v in low_C], "high": [_number(v) for v in high_C]}


def _number(value: Any) -> float | None:
    value = float(value)
    return value if math.isfinite(value) else None
