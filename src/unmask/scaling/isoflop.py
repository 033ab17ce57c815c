"""Approach 2: a parabola of L in log N at every budget, then power laws of its lowest points in C.

    minima = fit_parabolas(runs)                    # Minima of the runs
    lines = fit_lines(minima)                       # Lines: N* = k C^a, D* = k C^b, L* = k C^c, and FLOPs a token
    drawn = fit_lines(fit_parabolas(runs, losses_SR, weights_SR))   # the same for every resample

Hoffmann et al. 2022 (arXiv 2203.15556), section 3.2, as Nie et al. 2025 (arXiv 2410.18514) use it: no irreducible loss
in L*. A minimum counts where its parabola opens upward and, in the fit itself, where it lies between the smallest and
the largest size of its budget; each budget has the same weight.

Shapes: S resamples (none for the runs themselves), R runs, K budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.scaling.cost import Cost

SAME_BUDGET = 0.01  # relative: runs that near to the smallest of a budget share it
FEWEST_SIZES = 3  # that say where a parabola is lowest


@dataclass(frozen=True)
class Minima:
    """Of every budget, [..., K]: where the parabola is lowest, and what stands against it.

    log_flops_K: the budgets. log_params, log_tokens, log_cost (FLOPs a token) and loss at the minimum.
    counts: whether it enters the lines. opens: upward. spans: inside the sizes that were run.
    fitted_R: the parabola at each run (of the runs themselves), budget_R: the index of its budget, -1 for none.
    """

    log_flops_K: np.ndarray
    log_params: np.ndarray
    log_tokens: np.ndarray
    log_cost: np.ndarray
    loss: np.ndarray
    opens: np.ndarray
    spans: np.ndarray
    fitted_R: np.ndarray
    budget_R: np.ndarray
    leverage_R: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        return self.opens & self.spans

    @property
    def flops_K(self) -> np.ndarray:
        """The budgets, as they were before the logarithm."""
        return np.array([float(f"{flops:.12g}") for flops in np.exp(self.log_flops_K)])


@dataclass(frozen=True)
class Lines:
    """Power laws of the frontier, y = coefficient · C^exponent; scalars, or arrays [S]."""

    n_coefficient: Any
    n_exponent: Any
    d_coefficient: Any
    d_exponent: Any
    m_coefficient: Any
    m_exponent: Any
    loss_coefficient: Any
    loss_exponent: Any

    def _line(self, which: str, flops: Any) -> np.ndarray:
        exponent = np.asarray(getattr(self, f"{which}_exponent"))[..., None]
        coefficient = np.asarray(getattr(self, f"{which}_coefficient"))[..., None]
        return coefficient * np.atleast_1d(np.asarray(flops, float)) ** exponent

    def params(self, flops: Any) -> np.ndarray:
        """N* at budgets [C]: [S, C]."""
        return self._line("n", flops)

    def tokens(self, flops: Any) -> np.ndarray:
        """D*."""
        return self._line("d", flops)

    def loss(self, flops: Any) -> np.ndarray:
        """L*, nats a token."""
        return self._line("loss", flops)

    def flops_at(self, loss: Any) -> np.ndarray:
        """The compute at which L* is this loss, [S, C]; nan where losses do not fall."""
        exponent = np.asarray(self.loss_exponent)[..., None]
        with np.errstate(all="ignore"):
            flops = (np.atleast_1d(np.asarray(loss, float)) / np.asarray(self.loss_coefficient)[..., None]) ** (
                1 / exponent
            )
        return np.where(exponent < 0, flops, np.nan)


def budgets_of(flops_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(FLOPs of the budgets, ascending; each run's index): runs within 1% of its smallest share a budget."""
    index_R = np.empty(len(flops_R), dtype=int)
    first, k = -1.0, -1
    for i in np.argsort(flops_R, kind="stable"):
        if k < 0 or flops_R[i] > first * (1 + SAME_BUDGET):
            first, k = float(flops_R[i]), k + 1
        index_R[i] = k
    flops_K = np.array([np.median(flops_R[index_R == k]) for k in range(int(index_R.max()) + 1)])
    return flops_K, index_R


def fit_parabolas(
    flops_R: np.ndarray,
    params_R: np.ndarray,
    loss_R: np.ndarray,
    cost: Cost,
    losses_SR: np.ndarray | None = None,
    weights_SR: np.ndarray | None = None,
) -> Minima | None:
    """The minima of every budget of at least three sizes; None where there is none. With `losses_SR`, of resamples."""
    flops_all, index_R = budgets_of(flops_R)
    x_R = np.log(params_R)
    kept = [k for k in range(len(flops_all)) if len(np.unique(params_R[index_R == k])) >= FEWEST_SIZES]
    if not kept:
        return None
    losses = np.atleast_2d(loss_R if losses_SR is None else losses_SR)
    weights = np.ones_like(losses) if weights_SR is None else weights_SR
    fitted_R, budget_R, leverage_R = np.full(len(x_R), np.nan), np.full(len(x_R), -1), np.full(len(x_R), np.nan)
    columns = []
    for place, k in enumerate(kept):
        here = index_R == k
        x = x_R[here]
        middle, half = float(x.max() + x.min()) / 2, float(x.max() - x.min()) / 2
        design = np.stack([np.ones_like(x), (x - middle) / half, ((x - middle) / half) ** 2], axis=1)
        coefficients = _weighted_least_squares(design, losses[:, here], weights[:, here])
        columns.append(_vertices(coefficients, middle, half))
        budget_R[here] = place
        fitted_R[here] = design @ coefficients[0]
        leverage_R[here] = np.einsum("rp,pr->r", design, np.linalg.pinv(design))
    log_n, loss, opens, spans = (np.stack(part, axis=-1) for part in zip(*columns, strict=True))
    log_c = np.log(flops_all[kept])
    log_cost = cost.log(log_n)
    parts = {"log_params": log_n, "log_tokens": log_c - log_cost, "log_cost": log_cost, "loss": loss}
    parts |= {"opens": opens, "spans": spans}
    if losses_SR is None:
        parts = {name: part[0] for name, part in parts.items()}
    return Minima(log_flops_K=log_c, fitted_R=fitted_R, budget_R=budget_R, leverage_R=leverage_R, **parts)


def fit_lines(minima: Minima, all_that_open: bool = False) -> Lines | None:
    """Least squares in logs over the minima that count; None where fewer than two do.

    all_that_open: of resamples, those outside their sizes too: to leave out what strays would make the scatter small.
    """
    counts = minima.opens if all_that_open else minima.counts
    if counts.ndim == 1 and counts.sum() < 2:
        return None
    values: dict[str, Any] = {}
    with np.errstate(all="ignore"):
        of = {"n": minima.log_params, "d": minima.log_tokens, "m": minima.log_cost, "loss": np.log(minima.loss)}
        for name, logs in of.items():
            exponent, constant = _line(minima.log_flops_K, logs, counts)
            values[f"{name}_coefficient"], values[f"{name}_exponent"] = np.exp(constant), exponent
    if counts.ndim == 1:
        values = {name: float(value) for name, value in values.items()}
    return Lines(**values)


def _line(x_K: np.ndarray, y: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and constant of y over x [..., K] where it counts; nan where fewer than two do."""
    w = counts.astype(float)
    total = w.sum(-1)
    y = np.where(counts, y, 0.0)
    mean_x, mean_y = (w * x_K).sum(-1) / total, (w * y).sum(-1) / total
    from_mean = w * (x_K - np.asarray(mean_x)[..., None])
    slope = (from_mean * y).sum(-1) / (from_mean * x_K).sum(-1)
    slope = np.where(total >= 2, slope, np.nan)
    return slope, mean_y - slope * mean_x


def _weighted_least_squares(design_RP: np.ndarray, losses_SR: np.ndarray, weights_SR: np.ndarray) -> np.ndarray:
    """[S, P]; nan where a resample's weights leave fewer runs than it takes."""
    weighted = np.einsum("rp,sr,rq->spq", design_RP, weights_SR, design_RP)
    right = np.einsum("rp,sr->sp", design_RP, weights_SR * losses_SR)
    scale = np.einsum("spp->s", weighted) + 1e-300
    sound = np.linalg.det(weighted / scale[:, None, None]) > 1e-9
    weighted[~sound] = np.eye(design_RP.shape[1])
    solution = np.linalg.solve(weighted, right[:, :, None])[:, :, 0]
    solution[~sound] = np.nan
    return solution


def _vertices(coefficients_SP: np.ndarray, middle: float, half: float) -> tuple[np.ndarray, ...]:
    """log N*, L*, whether it opens upward, whether the minimum is between the ends; [S] each."""
    constant, slope, bend = coefficients_SP.T
    opens = bend > 0
    with np.errstate(all="ignore"):
        at = np.where(opens, -slope / (2 * bend), np.nan)
    spans = np.abs(at) <= 1
    at = np.clip(at, -2, 2)  # a draw may stray a whole range beyond its sizes, and no further
    return middle + half * at, constant + slope * at + bend * at**2, opens, spans & opens
