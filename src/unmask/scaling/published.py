"""What others have published on how both kinds of model scale, to compare with and to predict from.

    paper_minima("mdm")                    # the paper's optima: FLOPs, N*, L*, a budget each
    fit = paper_line("mdm", "loss")        # L* = k C^e through them
    fit.at(1e21), fit.inverse(2.5)         # (estimate, low, high)

Sources: Nie et al. 2025 (SMDM, arXiv 2410.18514), whose optima are read off the figures of its code (about ±1%), by the
rule C = 6 N D with N non-embedding, on SlimPajama; arXiv 2602.15014 (scaling-dllms), on the same sizes and budgets;
133 runs on C4 of the repository chen-hao-chao/mdm-prime-v2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unmask.statistics import student_975

BOUND = "An MDM's loss is an upper bound"
C4_NOTE = (
    "The repository of the C4 runs, chen-hao-chao/mdm-prime-v2, was withdrawn in April 2026 because its own method's "
    "loss is no bound; its authors say that the ARM and plain MDM rows stand."
)
PRINTED_GAPS = (  # (who, gap, what it is of): figures without runs or an interval
    ("scaling-dllms, MDLM", 14.0, "arXiv 2602.15014, SlimPajama, low-variance loss; as printed, it ships no runs"),
)
PAPER_FLOPS = (6e18, 1e19, 3e19, 6e19, 1e20)
PAPER_TABLE = {  # (N* in millions, L*) at each
    "arm": ((153, 2.846), (225, 2.749), (446, 2.555), (628, 2.447), (1005, 2.379)),
    "mdm": ((84, 3.374), (111, 3.261), (229, 3.041), (362, 2.916), (478, 2.830)),
}
PAPER = "Nie et al. 2025 (arXiv 2410.18514), optima of five budgets read off its figures"


def paper_minima(objective: str) -> dict[str, list[float]]:
    """The paper's optima of `arm` or `mdm` by ascending budget: flops, params, tokens (by 6 N D), loss (nats)."""
    params = [millions * 1e6 for millions, _ in PAPER_TABLE[objective]]
    tokens = [flops / (6 * n) for flops, n in zip(PAPER_FLOPS, params, strict=True)]
    losses = [loss for _, loss in PAPER_TABLE[objective]]
    return {"flops": [*PAPER_FLOPS], "params": params, "tokens": tokens, "loss": losses}


def paper_line(objective: str, which: str) -> PowerLine:
    """The line of `params`, `tokens` or `loss` in FLOPs through the paper's optima."""
    minima = paper_minima(objective)
    return PowerLine.through(minima["flops"], minima[which])


Interval = tuple[float, float | None, float | None]  # estimate, and the ends of 95% or none


@dataclass(frozen=True)
class PowerLine:
    """log y = level + exponent · (log x − middle) by least squares, with the errors that the points' scatter gives.

    scatter: standard deviation of log y about the line, 0 where two points leave nothing to tell it from; n: points;
    spread: sum of squares of log x about the middle.
    """

    level: float
    exponent: float
    middle: float
    scatter: float
    spread: float
    n: int

    @classmethod
    def through(cls, x: list[float], y: list[float]) -> PowerLine:
        """Of at least two points with different x, all positive."""
        logs, values = [math.log(v) for v in x], [math.log(v) for v in y]
        n, middle, level = len(logs), math.fsum(logs) / len(logs), math.fsum(values) / len(values)
        spread = math.fsum((a - middle) ** 2 for a in logs)
        exponent = math.fsum((a - middle) * b for a, b in zip(logs, values, strict=True)) / spread
        rest = math.fsum((b - level - exponent * (a - middle)) ** 2 for a, b in zip(logs, values, strict=True))
        return cls(level, exponent, middle, math.sqrt(rest / (n - 2)) if n > 2 else 0.0, spread, n)

    def at(self, x: float) -> Interval:
        """y on the line, and the 95% interval of the line there (Student's t; not of a new point)."""
        log = self.level + self.exponent * (math.log(x) - self.middle)
        half = self._half(math.log(x) - self.middle)
        if half is None:
            return math.exp(log), None, None
        return math.exp(log), math.exp(log - half), math.exp(log + half)

    def inverse(self, y: float) -> Interval:
        """The x at which the line is at y, and the x between which its band holds y (Fieller's, found by bisection)."""
        goal = math.log(y)
        away = (goal - self.level) / self.exponent
        ends = [None if self.n < 3 else self._band_at(goal, away, sign) for sign in (-1, 1)]
        known = sorted(math.exp(self.middle + end) for end in ends if end is not None)
        low, high = known if len(known) == 2 else (None, None)
        return math.exp(self.middle + away), low, high

    def draws(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(coefficients [n], exponents [n]) that spread as the band: chi-squared for the scatter, then normal."""
        scale = self.scatter * np.sqrt((self.n - 2) / rng.chisquare(self.n - 2, n))
        exponent = self.exponent + scale * rng.normal(size=n) / math.sqrt(self.spread)
        level = self.level + scale * rng.normal(size=n) / math.sqrt(self.n)
        return np.exp(level - exponent * self.middle), exponent

    def _half(self, away: float) -> float | None:
        if self.n < 3:
            return None
        return student_975(self.n - 2) * self.scatter * math.sqrt(1 / self.n + away**2 / self.spread)

    def _band_at(self, goal: float, away: float, sign: int) -> float | None:
        """Where the lower (-1) or upper edge of the band is at `goal`; None where it never is: a band too wide."""
        slope_error = student_975(self.n - 2) * self.scatter / math.sqrt(self.spread)
        if slope_error >= abs(self.exponent):
            return None

        def miss(x: float) -> float:
            return self.level + self.exponent * x + sign * (self._half(x) or 0.0) - goal

        step = 1.0
        while miss(away - step) * miss(away + step) > 0:
            step *= 2
        low, high = away - step, away + step
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if miss(low) * miss(middle) > 0 else (low, middle)
        return (low + high) / 2
