"""Estimates with their standard errors and 95% intervals, by Student's t.

    mean([3.1, 2.9, 3.4]).interval                      # [low, high]
    ratio(nats, n_bytes).to_dict()                      # {"value", "se", "interval", "groups"}
    interval(-41.2, se=0.8, groups=2)                   # one degree of freedom: 12.7 standard errors to either side

An error that comes from a few independent groups is itself uncertain, which Student's t answers for: with two groups
95% of the intervals need 12.7 standard errors, with many 1.96. Below every room.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

MANY = 200  # degrees of freedom from which an expansion is exact to nine digits


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error (nan where nothing tells it), and how many independent values that comes from."""

    value: float
    se: float
    groups: int

    @property
    def interval(self) -> list[float] | None:
        """95%: [low, high]; None where there is no error."""
        return interval(self.value, self.se, self.groups)

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.se * abs(factor), self.groups)

    def to_dict(self) -> dict[str, float | list[float] | None]:
        """JSON values."""
        return {"value": self.value, "se": self.se, "interval": self.interval, "groups": self.groups}


def mean(values: Sequence[float]) -> Estimate:
    """Of independent values."""
    array = np.asarray(values, dtype=np.float64)
    return Estimate(float(array.mean()), _se(array), len(array))


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Sum over sum, with the standard error of the ratio estimator (the linearised one)."""
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    value = float(a.sum() / b.sum())
    return Estimate(value, _se(a - value * b) / float(b.mean()), len(a))


def _se(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def error_of_sum(parts: Iterable[tuple[float, int]]) -> tuple[float, int]:
    """Standard error of a sum of independent numbers given as (se, groups), and the groups it is worth: those of
    Welch and Satterthwaite, rounded down. Numbers without an error (0 groups) add none."""
    known = [(se, groups) for se, groups in parts if groups > 1]
    total = sum(se**2 for se, _ in known)
    if not known:
        return 0.0, 0
    if not total:
        return 0.0, min(groups for _, groups in known)
    degrees = total**2 / sum(se**4 / (groups - 1) for se, groups in known)
    return math.sqrt(total), 1 + math.floor(degrees * (1 + 1e-9))


def interval(value: float, se: float | None, groups: int) -> list[float] | None:
    """95% interval of a value whose standard error comes from so many independent groups; None where nothing tells.

    groups: 0 with an error of 0 where nothing is drawn: the value is exact, and the interval the value itself.
    """
    if groups < 2:
        return [value, value] if groups == 0 and se == 0 else None
    if se is None or math.isnan(se):
        return None
    half = student_975(groups - 1) * se
    return [value - half, value + half]


def all_alike(share: float, groups: int) -> tuple[float, float] | None:
    """Clopper and Pearson's 95% bounds of a share that is 0, or 1, in every one of so many groups, whose spread says
    nothing; None for any other share."""
    if share not in (0, 1):
        return None
    least: float = 0.025 ** (1 / groups)
    return (0.0, 1 - least) if share == 0 else (least, 1.0)


def of_share(share: float, n: int) -> list[float]:
    """Wilson's 95% interval of a share of n independent trials: within 0 and 1, and of some width at either end."""
    z = 1.959963984540054
    centre, shrink = share + z**2 / (2 * n), 1 + z**2 / n
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return [max(0.0, (centre - half) / shrink), min(1.0, (centre + half) / shrink)]


def middle(draws: Any) -> tuple[float, float] | tuple[None, None]:
    """The ends of the middle 95% of those draws that are finite; None where there are none."""
    array = np.asarray(draws, dtype=np.float64).reshape(-1)
    finite = array[np.isfinite(array)]
    if not len(finite):
        return None, None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


@cache
def student_975(degrees: int) -> float:
    """The 97.5% point of Student's t: half the width of a 95% interval in standard errors."""
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom")
    if degrees > MANY:  # Abramowitz and Stegun 26.7.5
        z, n = 1.959963984540054, degrees
        return (
            z
            + (z**3 + z) / (4 * n)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        )
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _within(middle, degrees) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan(middle)


def _within(angle: float, degrees: int) -> float:
    """Chance that |t| is at most sqrt(degrees) tan(angle), in closed form (Abramowitz and Stegun 26.7.3 and 4)."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    terms = [term] if degrees > 1 else []
    for k in range(2 if odd else 1, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * k / (k + 1)
        terms.append(term)
    inner = math.sin(angle) * math.fsum(terms)
    return 2 / math.pi * (angle + inner) if odd else inner


def ci_text(low_high: Sequence[float] | None, form: str = ".4f") -> str:
    """``, 95% [1.2000, 1.4000]`` for a line of text; nothing where there is no interval or it is a point."""
    if low_high is None or low_high[0] == low_high[1]:
        return ""
    return f", 95% [{format(low_high[0], form)}, {format(low_high[1], form)}]"
