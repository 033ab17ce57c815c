"""Figures with 95% intervals: bootstrap over clusters (people, speeches, documents) and over seeds.

    clustered(values_SN, clusters_N)               # {"estimate", "low", "high", "n", "clusters"}
    paired(ours_SN, theirs_SN, clusters_N)         # of the differences, item by item

Items of one cluster stand or fall together, so clusters are resampled whole; where there are several seeds, seeds are
resampled too and independently (Owen, "The pigeonhole bootstrap", 2007). Percentile intervals. Of many clusters and
seeds that errs on the wide side; what S seeds spread comes in as (S - 1)/S of itself, and ends lie within the seeds'
range: of three seeds that differ much these intervals are too narrow. Where every value is 0, or every one 1,
resampling sees no spread: there the bound is Clopper and Pearson's for so many clusters.

Shapes: S seeds (may be 1), N items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmask.statistics import all_alike

DRAWS = 2000


def clustered(
    values: Any, clusters: Sequence[Any] | np.ndarray, draws: int = DRAWS, seed: int = 0, weights: Any = None
) -> dict[str, Any]:
    """The mean of values [N] or [S, N], with its interval.

    clusters: [N], what each item belongs to. weights: [N] or [S, N], such as bytes; the estimate is then the ratio of
    sums. Values that are not finite are an error of the caller: ValueError.
    """
    values_SN = np.atleast_2d(np.asarray(values, dtype=np.float64))
    weights_SN = np.ones_like(values_SN) if weights is None else np.broadcast_to(np.asarray(weights), values_SN.shape)
    if not np.isfinite(values_SN).all() or values_SN.size == 0:
        raise ValueError("values must be finite, and there must be some")
    _, where_N = np.unique(np.asarray([str(c) for c in clusters]), return_inverse=True)
    n_seeds, n_clusters = len(values_SN), int(where_N.max()) + 1
    above_SC = np.stack([np.bincount(where_N, row, n_clusters) for row in values_SN * weights_SN])
    below_SC = np.stack([np.bincount(where_N, row, n_clusters) for row in weights_SN])
    estimate = float(above_SC.sum() / below_SC.sum())
    low, high = _bounds(values_SN, above_SC, below_SC, estimate, draws, seed)
    return {"estimate": estimate, "low": low, "high": high, "n": int(values_SN.size), "clusters": n_clusters,
            "seeds": n_seeds}  # fmt: skip


def _bounds(
    values_SN: np.ndarray, above_SC: np.ndarray, below_SC: np.ndarray, estimate: float, draws: int, seed: int
) -> tuple[float, float]:
    n_seeds, n_clusters = above_SC.shape
    if (values_SN == values_SN[0, 0]).all() and (bounds := all_alike(float(values_SN[0, 0]), n_clusters)):
        return bounds
    random = np.random.default_rng(seed)
    times_DC = random.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=draws).astype(np.float64)
    times_DS = np.ones((draws, 1))
    if n_seeds > 1:
        times_DS = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws).astype(np.float64)
    above_D = ((times_DS @ above_SC) * times_DC).sum(axis=1)
    below_D = ((times_DS @ below_SC) * times_DC).sum(axis=1)
    low, high = np.quantile(above_D / below_D, (0.025, 0.975))
    return float(min(low, estimate)), float(max(high, estimate))


def paired(ours: Any, theirs: Any, clusters: Sequence[Any] | np.ndarray) -> dict[str, Any]:
    """The mean difference of two sets of values on the same items and seeds."""
    difference = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    estimate = clustered(difference, clusters)
    if not difference.any():  # nothing differs: no bound of a share
        estimate |= {"low": 0.0, "high": 0.0}
    return estimate


def in_words(figure: dict[str, Any], percent: bool = True, digits: int | None = None) -> str:
    """``83% [79, 87]``, or ``1.234 [1.200, 1.260]``."""
    scale, places = (100, 0 if digits is None else digits) if percent else (1, 3 if digits is None else digits)
    estimate, low, high = (f"{scale * figure[name]:.{places}f}" for name in ("estimate", "low", "high"))
    return f"{estimate}{'%' if percent else ''} [{low}, {high}]"


def ends(figure: Mapping[str, Any], form: str = "+.3f", scale: float = 1.0) -> str:
    """``+1.23 [+0.90, +1.60]`` in such a form as ``+.2f``; the estimate alone where nothing tells its interval."""
    estimate, *bounds = (figure[name] for name in ("estimate", "low", "high") if figure[name] is not None)
    within = f" [{', '.join(format(scale * bound, form) for bound in bounds)}]" if bounds else ""
    return f"{format(scale * estimate, form)}{within}"
