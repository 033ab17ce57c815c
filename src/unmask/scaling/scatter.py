"""Where the scatter about the parabolas comes from: the seed, the point, or the size's shape.

    scatter = scatter_of(runs, minima)           # Scatter: standard deviations in nats, and their degrees of freedom

A loss is taken to be its budget's parabola, plus what the size does at every budget (its shape, for one), plus what is
left at a point (budget and size), plus the seed's noise, which repeated seeds tell apart. Variances by the method of
moments: sums of squares about the parabolas, with and without a constant a size. What a size does at every budget moves
all minima together, so a bootstrap that drew it afresh at every point would give intervals too narrow.

Shapes: P points (budget and size), R runs, G sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import fdtrc

from unmask.scaling.isoflop import Minima
from unmask.scaling.table import Runs

FEWEST = 3  # degrees of freedom that tell a variance
CHANCE = 0.3  # an effect of sizes that equal sizes would show more often than that is taken as none
APART = 2.0  # scatter and seeds agree where one is less than so many times the other


@dataclass(frozen=True)
class Scatter:
    """Standard deviations in nats; seed is nan without repeated seeds. point includes the seed's noise, by `each_P`.

    point_R: each run's point, -1 outside the parabolas. size_P: each point's size. standard_P: residuals of points in
    units of their standard deviation, centred.
    """

    residual: float
    size: float
    point: float
    seed: float
    free: int
    size_free: int
    seed_free: int
    point_R: np.ndarray
    size_P: np.ndarray
    each_P: np.ndarray
    standard_P: np.ndarray

    @property
    def agrees(self) -> bool | None:
        """Whether residuals and repeated seeds have the same size; None without seeds."""
        if not math.isfinite(self.seed) or not self.seed:
            return None
        return 1 / APART <= self.residual / self.seed <= APART

    def to_dict(self) -> dict[str, Any]:
        """JSON values, nats."""
        seed = self.seed if math.isfinite(self.seed) else None
        fields = {"residual": self.residual, "size": self.size, "point": self.point, "seed": seed}
        return fields | {"free": self.free, "seed_free": self.seed_free, "agrees": self.agrees}


def scatter_of(runs: Runs, minima: Minima) -> Scatter | None:
    """None where fewer than three residuals are free."""
    inside = minima.budget_R >= 0
    keys = np.stack([minima.budget_R[inside], np.log(runs.params[inside])])
    points, index, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    index = index.reshape(-1)
    point_R = np.full(len(runs), -1)
    point_R[inside] = index
    mean_P = np.bincount(index, runs.loss[inside]) / counts
    _, size_P = np.unique(points[1], return_inverse=True)
    within = runs.loss[inside] - mean_P[index]
    seed_free = int(len(index) - len(counts))
    seed_variance = float((within**2).sum() / seed_free) if seed_free else math.nan
    parabolas = _parabolas(points)
    left = np.eye(len(parabolas)) - _projector(parabolas)  # [P, P]: takes them out
    free = round(float(np.trace(left)))
    if free < FEWEST:
        return None
    noise_P = np.nan_to_num(seed_variance) / counts
    squares = float(mean_P @ left @ mean_P)
    dummies = np.eye(int(size_P.max()) + 1)[size_P]
    inner, size_free, size_variance = left, 0, 0.0
    further = left - _projector(left @ dummies)
    further_free = round(float(np.trace(further)))
    if further_free >= FEWEST and free - further_free >= 2:
        rest = float(mean_P @ further @ mean_P)
        ratio = (squares - rest) / (free - further_free) / max(rest / further_free, 1e-300)
        if fdtrc(free - further_free, further_free, ratio) < CHANCE:
            inner, size_free = further, free - further_free
            expected = float(np.diag(left) @ (_excess(mean_P, inner, noise_P) + noise_P))
            size_variance = max(0.0, (squares - expected) / float(np.einsum("pg,pq,qg->", dummies, left, dummies)))
    point_variance = _excess(mean_P, inner, noise_P)
    each_P = np.sqrt(point_variance + noise_P)
    with np.errstate(all="ignore"):
        standard_P = inner @ mean_P / np.sqrt(np.diag(inner)) / each_P
    standard_P = standard_P[np.isfinite(standard_P) & (np.diag(inner) > 1e-6)]
    if not len(standard_P) or not each_P.max() > 0:
        return None
    standard_P = (standard_P - standard_P.mean()) / max(float(standard_P.std()), 1e-12)
    return Scatter(
        residual=math.sqrt(squares / free),
        size=math.sqrt(size_variance),
        point=math.sqrt(point_variance + float(noise_P.mean())),
        seed=math.sqrt(seed_variance),
        free=round(float(np.trace(inner))),
        size_free=size_free,
        seed_free=seed_free,
        point_R=point_R,
        size_P=size_P,
        each_P=each_P,
        standard_P=standard_P,
    )


def _excess(mean_P: np.ndarray, inner: np.ndarray, noise_P: np.ndarray) -> float:
    """The variance of points beyond that of the seeds in them."""
    return max(0.0, float((mean_P @ inner @ mean_P - np.diag(inner) @ noise_P) / np.trace(inner)))


def _parabolas(points: np.ndarray) -> np.ndarray:
    """[P, 3 K]: constant, slope and bend of every budget."""
    budget_P, x_P = points
    x_P = x_P - x_P.mean()
    powers = np.stack([np.ones_like(x_P), x_P, x_P**2], axis=1)
    return np.concatenate([powers * (budget_P == k)[:, None] for k in np.unique(budget_P)], axis=1)


def _projector(design: np.ndarray) -> np.ndarray:
    """Onto the columns, of which some may depend on others."""
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    u = u[:, s > 1e-9 * s.max()]
    return u @ u.T
