"""Extrapolation tried out: the fit without the largest budget, asked for that budget's lowest loss and best size.

    held_out_of(fit.objectives["mdm"])      # {"flops", "measured": {...}, "approach2": {"loss", "error", ...}, ...}

`error` is predicted minus measured, in nats; `params_ratio` predicted over measured. The measured values are the lowest
point of the parabola through the runs of that budget, so their own error is in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unmask.scaling.isoflop import fit_lines, fit_parabolas
from unmask.scaling.parametric import fit_laws
from unmask.scaling.sweep_fit import ObjectiveFit, points_of


def held_out_of(fit: ObjectiveFit) -> dict[str, Any]:
    """Null with its reason where three budgets are not there."""
    minima = fit.minima
    if minima is None or minima.counts.sum() < 3:
        return {"flops": None, "why": "it takes three budgets whose minimum counts"}
    top = int(np.flatnonzero(minima.counts)[-1])
    flops = float(minima.flops_K[top])
    runs = fit.runs.take(fit.runs.flops < flops * 0.99)
    measured = {"loss": float(minima.loss[top]), "params": float(np.exp(minima.log_params[top]))}
    result: dict[str, Any] = {"flops": flops, "measured": measured}
    lower = fit_parabolas(runs.flops, runs.params, runs.loss, fit.cost)
    lines = fit_lines(lower) if lower is not None else None
    if lines is None:
        result["approach2"] = {"loss": None, "why": "the budgets below do not give a line"}
    else:
        result["approach2"] = _against(measured, float(lines.loss(flops)[0]), float(lines.params(flops)[0]))
    points = points_of(runs, "own")
    if isinstance(points, str):
        result["approach3"] = {"loss": None, "why": points}
    else:
        best = fit_laws({fit.name: points}).laws[fit.name].optimum(flops, fit.cost)
        result["approach3"] = _against(measured, float(best.loss[0]), float(best.params[0]))
    return result


def _against(measured: dict[str, float], loss: float, params: float) -> dict[str, Any]:
    if not (math.isfinite(loss) and math.isfinite(params)):
        return {"loss": None, "why": "the law of the budgets below has no optimum there"}
    return {
        "loss": loss,
        "error": loss - measured["loss"],
        "relative_error": loss / measured["loss"] - 1,
        "params": params,
        "params_ratio": params / measured["params"],
    }


def predictions(entry: dict[str, Any]) -> list[str]:
    """What both approaches predicted, with the error, as text."""
    return [
        "–" if entry[key]["loss"] is None else f"{entry[key]['loss']:.4f} ({entry[key]['error']:+.4f})"
        for key in ("approach2", "approach3")
    ]
