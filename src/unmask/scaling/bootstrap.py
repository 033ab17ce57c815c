"""Resamples of a sweep: residuals about its parabolas, or whole runs.

    noise_SR, why = residual_noise(runs, minima, resamples=1000, rng=rng)   # to be added to what a fit gives
    weights_SR = run_weights(runs, resamples=1000, rng=rng)                 # how often each run is drawn

*Residuals* (the headline) keep the grid: a point gets its fitted value, a draw of what its size does at every budget,
and a residual drawn from those about all parabolas of its objective, both as large as `scatter.py` finds them, with the
doubt that few residuals leave (a draw of chi-squared a resample). With few sizes a budget that is right where drawing
runs is not: a budget of six sizes loses a third of them, and intervals come out twice too wide. *Runs* are drawn among
all of their objective, which suits many sizes a budget, and needs no parabola.

Runs that repeat a point with other seeds are drawn about a common value. Branches of a trunk share their noise: trunks
are drawn whole, and the residuals of a trunk change their sign together (a wild cluster bootstrap; Cameron, Gelbach and
Miller 2008).

Shapes: S resamples, R runs of one objective.
"""

from __future__ import annotations

import numpy as np

from unmask.scaling.isoflop import Minima
from unmask.scaling.scatter import Scatter, scatter_of
from unmask.scaling.table import Runs


def residual_noise(
    runs: Runs, minima: Minima | None, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray | None, str | None]:
    """(nats to add to fitted losses [S, R], None), or (None, why) where there are no residuals to draw from."""
    if minima is None:
        return None, "no budget has three sizes, so there are no parabolas to vary about"
    scatter = scatter_of(runs, minima)
    if scatter is None:
        return None, "the parabolas pass through nearly all runs, so their residuals say nothing; add sizes"
    trunks = np.any(runs.trunk != "")
    return (_signed if trunks else _drawn)(runs, minima, scatter, resamples, rng), None


def _drawn(runs: Runs, minima: Minima, scatter: Scatter, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Effects of sizes, residuals of points, and deviations of seeds from their point's mean."""
    n_points, n_sizes = len(scatter.size_P), int(scatter.size_P.max()) + 1
    drawn_SP = (
        rng.choice(scatter.standard_P, (resamples, n_points)) * scatter.each_P * _doubt(scatter.free, resamples, rng)
    )
    if scatter.size > 0:
        size_SG = rng.normal(0, scatter.size, (resamples, n_sizes)) * _doubt(scatter.size_free, resamples, rng)
        drawn_SP = drawn_SP + size_SG[:, scatter.size_P]
    inside = scatter.point_R >= 0
    drawn_SR = drawn_SP[:, np.where(inside, scatter.point_R, 0)]
    drawn_SR[:, ~inside] = rng.choice(scatter.standard_P, (resamples, int((~inside).sum()))) * scatter.point
    if scatter.seed_free:
        extra_SR = rng.normal(0, scatter.seed, drawn_SR.shape)
        for point in np.flatnonzero(np.bincount(scatter.point_R[inside]) > 1):  # the point's mean is drawn already
            here = scatter.point_R == point
            drawn_SR[:, here] += extra_SR[:, here] - extra_SR[:, here].mean(1, keepdims=True)
    return drawn_SR


def _doubt(free: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How much larger or smaller a standard deviation of so many degrees of freedom may be, [S, 1]."""
    return np.sqrt(free / rng.chisquare(max(free, 1), (resamples, 1)))


def _signed(runs: Runs, minima: Minima, scatter: Scatter, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Residuals, enlarged by what the parabolas took from them, with one sign a trunk."""
    left_R = np.nan_to_num(1 - minima.leverage_R)
    with np.errstate(all="ignore"):
        found_R = np.where(left_R > 1e-6, (runs.loss - minima.fitted_R) / np.sqrt(left_R), 0.0)
    cluster_R = _clusters(runs)
    signs_SC = rng.choice([-1.0, 1.0], (resamples, int(cluster_R.max()) + 1))
    return signs_SC[:, cluster_R] * np.nan_to_num(found_R) * _doubt(scatter.free, resamples, rng)


def _clusters(runs: Runs) -> np.ndarray:
    """Each run's trunk as an index; a run of none is its own."""
    names = [str(t) or f"\0{i}" for i, t in enumerate(runs.trunk)]
    return np.unique(names, return_inverse=True)[1].reshape(-1)


def count_clusters(runs: Runs) -> int:
    """Trunks, and runs of none: what is drawn on its own."""
    return len(np.unique(_clusters(runs)))


def run_weights(runs: Runs, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each run of an objective is drawn, [S, R]; the runs of a trunk together."""
    clusters, own_R = np.unique(_clusters(runs), return_inverse=True)
    return rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), resamples)[:, own_R].astype(float)
