"""The gap on each source of the held-out text: the same runs, fitted to their losses on that source alone.

    found = gaps_by_source(runs, ("arm", "mdm"), resamples=1000, seed=0)
    found["sotu"]       # {"tokens": 18695, "gap": [rows of the form `overlap`, as gap.py gives them]}

Tokens of other sources are other tokens, so their losses do not compare; what compares is how much compute the one
objective takes for the other's loss on each.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from unmask.scaling.gap import gap_rows
from unmask.scaling.sweep_fit import fit_runs
from unmask.scaling.table import Runs


def gaps_by_source(runs: Runs, pair: tuple[str, str] | None, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Of the sources that every run of the pair tells of; empty where there are none, or no pair."""
    if pair is None:
        return {}
    runs = runs.take(np.isin(runs.objective, pair))
    told = [row if isinstance(row, dict) else {} for row in runs.sources]
    found = {}
    for name in sorted(set.intersection(*map(set, told))) if told else ():
        loss_R = np.array([_number(row[name], "loss") for row in told])
        if np.isfinite(loss_R).all() and (loss_R > 0).all():
            fit = fit_runs(replace(runs, loss=loss_R), pair, resamples, seed, approach3=False)
            a, b = (fit.objectives[objective].side(False) for objective in pair)
            rows = [row for row in gap_rows(a, b) if row["form"] == "overlap"]
            tokens = _number(told[0][name], "tokens")
            found[name] = {"tokens": int(tokens) if math.isfinite(tokens) else None, "gap": rows}
    return found


def _number(entry: Any, field: str) -> float:
    """nan for what is no number."""
    value = entry.get(field) if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
