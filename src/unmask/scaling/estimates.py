"""Numbers with their intervals, as JSON has them: nothing infinite, null with its reason.

estimate(0.535, draws_S)            # {"estimate": 0.535, "low": 0.512, "high": 0.559}
nothing("one objective")            # {"estimate": None, "low": None, "high": None, "why": "one objective"}
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unmask.statistics import middle

LEVEL = 0.95
FEWEST_DRAWS = 0.9  # share of the resamples that must give a number


def estimate(value: Any, draws_S: Any = None, why: str = "it is not finite") -> dict[str, Any]:
    """A number and the percentiles of its draws; `why` stands where there is no number."""
    value = float(value)
    if not math.isfinite(value):
        return nothing(why)
    result: dict[str, Any] = {"estimate": value, "low": None, "high": None}
    draws = np.asarray(draws_S if draws_S is not None else [], dtype=float).reshape(-1)
    finite = draws[np.isfinite(draws)]
    if len(draws) and len(finite) >= FEWEST_DRAWS * len(draws):
        result["low"], result["high"] = middle(finite)
    else:
        share = f"{1 - len(finite) / len(draws):.0%} of the resamples give no number" if len(draws) else "no resamples"
        result["why"] = f"no interval: {share}"
    return result


def nothing(why: str) -> dict[str, Any]:
    """What could not be fitted."""
    return {"estimate": None, "low": None, "high": None, "why": why}


def shown(figure: dict[str, Any] | None, digits: int = 3) -> str:
    """``0.535 [0.512, 0.559]`` for people."""
    if not figure or figure["estimate"] is None:
        return "–"
    value = _figure(figure["estimate"], digits)
    if figure["low"] is None:
        return value
    return f"{value} [{_figure(figure['low'], digits)}, {_figure(figure['high'], digits)}]"


def power(number: float) -> str:
    """3e+18 as 3e18, the way the command line takes it."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def _figure(value: float, digits: int) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.1f}"
    return f"{value:.{digits}g}"
