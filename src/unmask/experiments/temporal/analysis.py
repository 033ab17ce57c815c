"""How far the masked model lies from the autoregressive one's line on later text, at equal loss in the period.

    shift = Shift(groups_N, years_N, media_N, runs)                # runs: (MDM points, ARM points) of each seed
    shift.differences(draws=2000)                                  # {"1950s": figure, ..., "later": figure}
    shift.slopes(draws=2000)                                       # bits/byte per decade: all, written, spoken

A run's checkpoints give points (loss in the period, loss on later text). Those of the ARM make a line, straight between
neighbours. At each MDM point that lies within the line's reach, every document's loss under the ARM at the MDM's loss
in the period is read off that line; what the MDM has more is its difference, averaged over its points and the seeds. A
negative one: the MDM degrades less. Intervals: documents of each group are drawn again (the bootstrap), those of the
period too, since they say where on the line a point lies, and seeds with them. So a group is as sure as it has
documents, and the error of the equal loss is inside.

The slope is the least squares line of documents' differences over their years; within a medium, of those alone.

Shapes: S seeds, M points of an MDM, A points of an ARM, N documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.experiments.temporal.texts import IN_PERIOD

LATER = "later"
LEAST = 3  # documents of a group before it has a figure
SPAN = 20  # years that documents must span for a slope


@dataclass(frozen=True, eq=False)
class Points:
    """Bits of every document at each checkpoint of a run, its FLOPs, and the documents' bytes."""

    bits_PN: np.ndarray
    flops_P: np.ndarray
    bytes_N: np.ndarray

    def loss(self, weight_N: np.ndarray) -> np.ndarray:
        """Bits per byte [P] of documents drawn so often."""
        total: np.ndarray = self.bits_PN @ weight_N / (self.bytes_N @ weight_N)
        return total


@dataclass(frozen=True, eq=False)
class Line:
    """Where the points of an MDM lie on the line of an ARM: neighbours and the share of the upper one."""

    low_M: np.ndarray
    share_M: np.ndarray
    inside_M: np.ndarray  # within the line's reach

    @classmethod
    def of(cls, wanted_M: np.ndarray, loss_A: np.ndarray) -> Line:
        order = np.argsort(loss_A)
        sorted_A = loss_A[order]
        place_M = np.clip(np.searchsorted(sorted_A, wanted_M), 1, len(sorted_A) - 1)
        below, above = sorted_A[place_M - 1], sorted_A[place_M]
        share_M = (wanted_M - below) / np.maximum(above - below, 1e-12)
        inside_M = (wanted_M >= sorted_A[0]) & (wanted_M <= sorted_A[-1])
        low = np.stack([order[place_M - 1], order[place_M]])
        return cls(low, share_M, inside_M)

    def at(self, values_A: np.ndarray) -> np.ndarray:
        """Values [A, ...] of the line's points, read off at the MDM's."""
        share = self.share_M.reshape(-1, *[1] * (values_A.ndim - 1))
        between: np.ndarray = (1 - share) * values_A[self.low_M[0]] + share * values_A[self.low_M[1]]
        return between


@dataclass(frozen=True, eq=False)
class Shift:
    """The documents and the points of every seed; `runs` are (MDM, ARM)."""

    groups_N: Sequence[str]
    years_N: Sequence[int]
    media_N: Sequence[str]
    runs: Sequence[tuple[Points, Points]]

    @property
    def period_N(self) -> np.ndarray:
        return np.array([group == IN_PERIOD for group in self.groups_N])

    def lines(self, weight_N: np.ndarray | None = None) -> list[Line]:
        weight = self.period_N * (1.0 if weight_N is None else weight_N)
        return [Line.of(mdm.loss(weight), arm.loss(weight)) for mdm, arm in self.runs]

    def usable(self) -> list[np.ndarray]:
        """bool [M] of each seed: points at which the two are compared."""
        return [line.inside_M for line in self.lines()]

    def difference(self, weight_N: np.ndarray, usable: Sequence[np.ndarray]) -> np.ndarray:
        """Bits per byte [S, N] that each document costs the MDM more than the ARM's line; nan where no point serves."""
        costs = []
        for (mdm, arm), line, at_M in zip(self.runs, self.lines(weight_N), usable, strict=True):
            more_MN = (mdm.bits_PN - line.at(arm.bits_PN))[at_M]
            costs.append(more_MN.mean(axis=0) / mdm.bytes_N if at_M.any() else np.full(len(mdm.bytes_N), math.nan))
        return np.stack(costs)

    def differences(self, draws: int = 2000, seed: int = 0) -> dict[str, dict[str, Any]]:
        """A figure of each group, and of all that is later; none where no point of any seed can be compared."""
        bytes_N, groups = self.runs[0][0].bytes_N, np.array(self.groups_N)
        names = [g for g in dict.fromkeys(self.groups_N) if g != IN_PERIOD and (groups == g).sum() >= LEAST]
        masks = {name: groups == name for name in sorted(names)}
        masks[LATER] = ~self.period_N

        def of(found_SN: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
            weighted = weight_N * bytes_N
            mean_N = found_SN.mean(axis=0)
            return np.array([(mean_N * weighted)[m].sum() / max(weighted[m].sum(), 1e-12) for m in masks.values()])

        return self._figures(list(masks), [int(m.sum()) for m in masks.values()], of, draws, seed)

    def slopes(self, draws: int = 2000, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Bits per byte a decade: of later documents and those of the period together, and within each medium."""
        years, media = np.array(self.years_N, dtype=float), np.array(self.media_N)
        masks = {"all": np.ones(len(years), dtype=bool)}
        masks |= {medium: media == medium for medium in dict.fromkeys(self.media_N) if medium}
        masks = {n: m for n, m in masks.items() if m.sum() >= 2 * LEAST and np.ptp(years[m]) >= SPAN}

        def of(found_SN: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
            mean_N = found_SN.mean(axis=0)
            return np.array([10 * slope(years[m], mean_N[m], weight_N[m]) for m in masks.values()])

        return self._figures(list(masks), [int(m.sum()) for m in masks.values()], of, draws, seed)

    def _figures(
        self,
        names: Sequence[str],
        counts: Sequence[int],
        of: Callable[[np.ndarray, np.ndarray], np.ndarray],
        draws: int,
        seed: int,
    ) -> dict[str, dict[str, Any]]:
        usable = self.usable()
        serving = [s for s, at in enumerate(usable) if at.any()]
        if not serving or not names:
            return {}
        few = Shift(self.groups_N, self.years_N, self.media_N, [self.runs[s] for s in serving])
        usable = [usable[s] for s in serving]
        ones = np.ones(len(self.groups_N))
        estimate = of(few.difference(ones, usable), ones)
        rng, drawn = np.random.default_rng(seed), []
        for _ in range(draws):
            weight_N = few.again(rng)
            seeds = rng.integers(0, len(serving), len(serving))
            drawn.append(of(few.difference(weight_N, usable)[seeds], weight_N))
        low, high = np.nanquantile(np.array(drawn), (0.025, 0.975), axis=0)
        return {
            name: {"estimate": float(e), "low": float(min(a, e)), "high": float(max(b, e)), "n": n * len(serving),
                   "clusters": n, "seeds": len(serving)}
            for name, e, a, b, n in zip(names, estimate, low, high, counts, strict=True)
        }  # fmt: skip

    def again(self, rng: np.random.Generator) -> np.ndarray:
        """How often each document is drawn: as many of its group as there are."""
        weight_N, groups = np.zeros(len(self.groups_N)), np.array(self.groups_N)
        for group in dict.fromkeys(self.groups_N):
            where = np.flatnonzero(groups == group)
            weight_N[where] = rng.multinomial(len(where), np.full(len(where), 1 / len(where)))
        return weight_N


def slope(years_n: np.ndarray, values_n: np.ndarray, weight_n: np.ndarray) -> float:
    """Of the weighted least squares line; nan where the years do not differ."""
    total = weight_n.sum()
    if total <= 0:
        return math.nan
    x, y = years_n - (weight_n @ years_n) / total, values_n - (weight_n @ values_n) / total
    spread = weight_n @ (x * x)
    return float(weight_n @ (x * y) / spread) if spread > 0 else math.nan


def compute_ratio(mdm: Points, arm: Points, period_N: np.ndarray) -> float | None:
    """FLOPs of the MDM's last point over those of the ARM at equal loss in the period; None beyond its reach."""
    weight = period_N.astype(float)
    line = Line.of(mdm.loss(weight)[-1:], arm.loss(weight))
    if not line.inside_M[0]:
        return None
    return float(mdm.flops_P[-1] / np.exp(line.at(np.log(arm.flops_P)))[0])
