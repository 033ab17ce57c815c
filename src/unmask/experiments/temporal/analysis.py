"""How far the masked model lies from the autoregressive one's line on later text, at equal loss in the period.

    shift = Shift(groups_N, years_N, media_N, clusters_N, runs)    # runs: (MDM points, ARM points) of each seed
    shift.differences(draws=2000)                                  # {"1950s": figure, ..., "later": figure}
    shift.slopes(draws=2000)                                       # bits/byte per decade: later, later written, ...
    beyond_control(shift, reversed_, draws=2000)                   # later less later of a control

A run's checkpoints give points (loss in the period, loss on later text). Those of the ARM make a line, straight between
neighbours. At each MDM point that lies within the line's reach, every document's loss under the ARM at the MDM's loss
in the period is read off that line; what the MDM has more is its difference, averaged over its points and the seeds. A
negative one: the MDM degrades less. Intervals: clusters of each group are drawn again (the bootstrap), those of the
period too, since they say where on the line a point lies, and seeds with them. So a group is as sure as it has
clusters, and the error of the equal loss is inside. Documents of one cluster (parts of one year's message, pages of a
folder) say much the same, and stand or fall together.

The slope is the least squares line of differences over the years, of later documents alone, each cluster once however
many parts it has; within a medium, of those alone. That of the period is given beside it: there nothing is newer than
what was trained on.

Shapes: S seeds, M points of an MDM, A points of an ARM, N documents, K figures, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from unmask.experiments.temporal.texts import IN_PERIOD

LATER = "later"
LEAST = 3  # clusters of a group before it has a figure
SPAN = 20  # years that documents must span for a slope
# Two messages and eleven parts of a third, all of one president, are nearly half of the later written ones.
LEFT_OUT, OF_THOSE = f"{LATER} written without 1972 to 1974", ("1972", "1973", "1974")


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

    def of(self, documents_n: np.ndarray) -> Points:
        """The same of some documents."""
        return Points(self.bits_PN[:, documents_n], self.flops_P, self.bytes_N[documents_n])


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
class Drawn:
    """Estimates, and the same of each draw of clusters and seeds."""

    estimate_K: np.ndarray
    drawn_DK: np.ndarray
    seeds: int


@dataclass(frozen=True, eq=False)
class Shift:
    """The documents and the points of every seed; `runs` are (MDM, ARM)."""

    groups_N: Sequence[str]
    years_N: Sequence[int]
    media_N: Sequence[str]
    clusters_N: Sequence[str]
    runs: Sequence[tuple[Points, Points]]

    @cached_property
    def period_N(self) -> np.ndarray:
        return np.array([group == IN_PERIOD for group in self.groups_N])

    @cached_property
    def later_N(self) -> np.ndarray:
        return ~self.period_N

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
        """A figure of each group, of all that is later, and of that by medium; none where no point can be compared."""
        masks = self._enough({name: self._where(self.groups_N, name) for name in sorted(set(self.groups_N))}, LEAST)
        masks.pop(IN_PERIOD, None)
        masks[LATER] = self.later_N
        media = [medium for medium in dict.fromkeys(self.media_N) if medium]
        masks |= self._enough({f"{LATER} {m}": self._where(self.media_N, m) & self.later_N for m in media}, LEAST)
        masks |= self._without_some(masks, LEAST)
        return self._figures(masks, self._means(masks), draws, seed)

    def _without_some(self, masks: dict[str, np.ndarray], least: int) -> dict[str, np.ndarray]:
        """Later written documents but for the years that dominate them, where they are there."""
        written = masks.get(f"{LATER} written")
        if written is None or not (few := written & np.isin(self.clusters_N, OF_THOSE)).any():
            return {}
        return self._enough({LEFT_OUT: written & ~few}, least)

    def later(self, draws: int, seed: int) -> Drawn | None:
        """The difference of all later text with its draws."""
        return self._drawn(self._means({LATER: self.later_N}), draws, seed)

    def slopes(self, draws: int = 2000, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Bits per byte a decade: of later documents, of those of each medium, and of the period's."""
        years = np.array(self.years_N, dtype=float)
        masks = {LATER: self.later_N}
        for medium in [medium for medium in dict.fromkeys(self.media_N) if medium]:
            masks[f"{LATER} {medium}"] = self._where(self.media_N, medium) & self.later_N
        masks |= {**self._without_some(masks, 2 * LEAST), IN_PERIOD: self.period_N}
        masks = {n: m for n, m in self._enough(masks, 2 * LEAST).items() if np.ptp(years[m]) >= SPAN}
        each_N = 1 / self.parts_N

        def of(found_SN: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
            mean_N, by_cluster = found_SN.mean(axis=0), weight_N * each_N
            return np.array([10 * slope(years[m], mean_N[m], by_cluster[m]) for m in masks.values()])

        return self._figures(masks, of, draws, seed)

    @staticmethod
    def _where(values: Sequence[str], value: str) -> np.ndarray:
        return np.array([one == value for one in values])

    def _enough(self, masks: dict[str, np.ndarray], least: int) -> dict[str, np.ndarray]:
        return {name: mask for name, mask in masks.items() if self.count(mask) >= least}

    def count(self, mask_N: np.ndarray) -> int:
        """Of the clusters that documents are of."""
        return len({(self.groups_N[i], self.clusters_N[i]) for i in np.flatnonzero(mask_N).tolist()})

    def _means(self, masks: dict[str, np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        bytes_N = self.runs[0][0].bytes_N

        def of(found_SN: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
            weighted = weight_N * bytes_N
            mean_N = found_SN.mean(axis=0)
            return np.array([(mean_N * weighted)[m].sum() / max(weighted[m].sum(), 1e-12) for m in masks.values()])

        return of

    def _figures(
        self, masks: dict[str, np.ndarray], of: Callable[[np.ndarray, np.ndarray], np.ndarray], draws: int, seed: int
    ) -> dict[str, dict[str, Any]]:
        drawn = self._drawn(of, draws, seed) if masks else None
        if drawn is None:
            return {}
        return {
            name: figure(drawn.estimate_K[k], drawn.drawn_DK[:, k], int(m.sum()), self.count(m), drawn.seeds)
            for k, (name, m) in enumerate(masks.items())
        }

    def _drawn(
        self, of: Callable[[np.ndarray, np.ndarray], np.ndarray], draws: int, seed: int
    ) -> Drawn | None:
        """None where no point of any seed can be compared."""
        usable = self.usable()
        serving = [s for s, at in enumerate(usable) if at.any()]
        if not serving:
            return None
        documents = self.groups_N, self.years_N, self.media_N, self.clusters_N
        few, usable = Shift(*documents, [self.runs[s] for s in serving]), [usable[s] for s in serving]
        ones = np.ones(len(self.groups_N))
        rng, drawn = np.random.default_rng(seed), []
        for _ in range(draws):
            weight_N = self.again(rng)
            seeds = rng.integers(0, len(serving), len(serving))
            drawn.append(of(few.difference(weight_N, usable)[seeds], weight_N))
        return Drawn(of(few.difference(ones, usable), ones), np.array(drawn), len(serving))

    @cached_property
    def parts_N(self) -> np.ndarray:
        """Of how many documents the cluster of each is."""
        parts = np.zeros(len(self.groups_N))
        for where, number, _ in self._places:
            parts[where] = np.bincount(number)[number]
        return parts

    @cached_property
    def _places(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """Of each group its documents, the cluster of each by number, and how many clusters there are."""
        places = []
        for group in dict.fromkeys(self.groups_N):
            where = np.flatnonzero(self._where(self.groups_N, group))
            names, number = np.unique(np.array(self.clusters_N)[where], return_inverse=True)
            places.append((where, number, len(names)))
        return places

    def again(self, rng: np.random.Generator) -> np.ndarray:
        """How often each document is drawn: as many clusters of its group as there are, each with all it has there."""
        weight_N = np.zeros(len(self.groups_N))
        for where, number, count in self._places:
            weight_N[where] = rng.multinomial(count, np.full(count, 1 / count))[number]
        return weight_N

    def raw(
        self, runs: Sequence[Points], less: Sequence[Points] = (), draws: int = 2000, group: str = LATER
    ) -> dict[str, Any]:
        """Later less in period at the last point of each seed's run, bits per byte, whatever the other kind does.

        less: of these the same is taken off. group: of the later documents these alone. `n` and `clusters` are of them.
        """
        rng, drawn = np.random.default_rng(0), []
        tested_N = self.later_N if group == LATER else self._where(self.groups_N, group)

        def rise(points: Points, weight_N: np.ndarray) -> float:
            return float((points.loss(weight_N * tested_N) - points.loss(weight_N * self.period_N))[-1])

        def of(weight_N: np.ndarray, seeds: Sequence[int]) -> float:
            more = [rise(runs[s], weight_N) - (rise(less[s], weight_N) if less else 0.0) for s in seeds]
            return float(np.mean(more))

        for _ in range(draws):
            weight_N = self.again(rng)
            drawn.append(of(weight_N, rng.integers(0, len(runs), len(runs)).tolist()))
        estimate = of(np.ones(len(self.groups_N)), range(len(runs)))
        return figure(estimate, np.array(drawn), int(tested_N.sum()), self.count(tested_N), len(runs))


def figure(estimate: float, drawn_D: np.ndarray, documents: int, clusters: int, seeds: int) -> dict[str, Any]:
    """An estimate with the middle 95% of its draws; `n` counts a document once a seed."""
    low, high = np.nanquantile(drawn_D, (0.025, 0.975))
    return {"estimate": float(estimate), "low": float(min(low, estimate)), "high": float(max(high, estimate)),
            "n": documents * seeds, "clusters": clusters, "seeds": seeds}  # fmt: skip


def beyond_control(ours: Shift, control: Shift, draws: int = 2000) -> dict[str, Any] | None:
    """The difference of later text less that of a control; None where one of the two cannot be compared.

    Below 0: the MDM gains more with time than where time has no part. Each has its own runs and seeds, and the draws of
    one are independent of those of the other, though both test some of the same documents; drawing those together moved
    no end of the kept result by more than 0.001.
    """
    drawn, of_control = ours.later(draws, seed=1), control.later(draws, seed=2)
    if drawn is None or of_control is None:
        return None
    documents = [int(shift.later_N.sum()) for shift in (ours, control)]
    clusters = [shift.count(shift.later_N) for shift in (ours, control)]
    less = figure(
        float(drawn.estimate_K[0] - of_control.estimate_K[0]), drawn.drawn_DK[:, 0] - of_control.drawn_DK[:, 0],
        0, sum(clusters), min(drawn.seeds, of_control.seeds),
    )  # fmt: skip
    return less | {"n": documents[0] * drawn.seeds + documents[1] * of_control.seeds}


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
