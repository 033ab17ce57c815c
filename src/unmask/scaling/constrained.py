"""Laws of repeated data: what the D-th token is worth where only U are unique.

    law = Muennighoff(base, r_data=15.39, r_params=5.31)
    law.loss(6.34e9, 242e9, 25e9)
    fit_muennighoff(base, params_R, tokens_R, unique_R, loss_R, weights_SR)

Muennighoff et al. 2023 (arXiv 2305.16264): D' = U + U R_D (1 − exp(−(D / U − 1) / R_D)), and the same for N beyond the
size that is best for U. It can only rise towards U (1 + R_D). Ni et al. 2025 (Quokka, arXiv 2510.03280) let it fall
again: with e = D / U epochs, D' = U e^{p_e} exp(−(max(0, e − 1) / e_p)^γ), and e_p = c_p U^{m_p} / N^{k_p} the epochs
beyond which a model of that size spoils; ten coefficients with E, A, B, α, β.

One size and one U tell R_D alone, or p_e, γ and e_p: the others are then held at `base`, the law of unrepeated runs.

Shapes: R runs, S resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from unmask.scaling.huber import DELTA, huber
from unmask.scaling.law import Law

R_GRID = np.exp(np.linspace(np.log(0.05), np.log(2e4), 400))
QUOKKA_FIELDS = ("p_e", "gamma", "c_p", "m_p", "k_p")
FEWEST_EPOCHS = 3  # counts of epochs that tell a curve
FEWEST_FOR_TEN = 3  # sizes, and amounts of unique tokens, that tell all ten coefficients
QUOKKA_STARTS = ((1.0, 1.0, 8.0), (0.8, 1.0, 64.0), (0.9, 0.6, 400.0), (0.6, 1.5, 30.0))  # p_e, γ, e_p
WORST = 3.0  # a log residual where a law gives no number


@dataclass(frozen=True)
class Muennighoff:
    """base: the law of fresh data. r_data, r_params: in units of U tokens, and of the size that is best for them."""

    base: Law
    r_data: Any
    r_params: Any = np.inf

    def loss(self, params: Any, tokens: Any, unique: Any) -> np.ndarray:
        """Nats a token; `unique` at most `tokens` counts."""
        params, tokens = np.asarray(params, float), np.asarray(tokens, float)
        unique = np.minimum(unique, tokens)
        best = np.minimum(params, best_size(self.base, unique))
        return self.base.loss(_worth(params, best, self.r_params), _worth(tokens, unique, self.r_data))


@dataclass(frozen=True)
class Quokka:
    """base: the law of fresh data; p_e, gamma, and e_p = c_p U^m_p / N^k_p epochs."""

    base: Law
    p_e: float
    gamma: float
    c_p: float
    m_p: float = 0.0
    k_p: float = 0.0

    def loss(self, params: Any, tokens: Any, unique: Any) -> np.ndarray:
        """Nats a token."""
        params, tokens = np.asarray(params, float), np.asarray(tokens, float)
        unique = np.minimum(unique, tokens)
        epochs = tokens / unique
        e_p = self.c_p * unique**self.m_p / params**self.k_p
        worth = unique * epochs**self.p_e * np.exp(-((np.maximum(0, epochs - 1) / e_p) ** self.gamma))
        return self.base.loss(params, worth)

    def best_epochs(self, params: float, unique: float) -> float:
        """After which more of the same makes the loss rise."""
        epochs = np.exp(np.linspace(0, np.log(1e5), 4000))
        return float(epochs[np.nanargmin(self.loss(params, epochs * unique, unique))])


def best_size(law: Law, unique: Any) -> np.ndarray:
    """The N for which these tokens are the best D: (U G)^(β/α) G."""
    G = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    return (np.asarray(unique) * G) ** (law.beta / law.alpha) * G


def _worth(amount: np.ndarray, unique: np.ndarray, r: Any) -> np.ndarray:
    """What more of the same is worth, in units of what is new."""
    if np.ndim(r) == 0 and np.isinf(r):
        return amount
    return unique + unique * r * -np.expm1(-(amount / unique - 1) / r)


def fit_muennighoff(
    base: Law,
    params_R: np.ndarray,
    tokens_R: np.ndarray,
    unique_R: np.ndarray,
    loss_R: np.ndarray,
    weights_SR: np.ndarray,
) -> tuple[Muennighoff | None, np.ndarray, str | None]:
    """(law, draws of R_D [S], why there is none): R_D by the Huber loss of log residuals, along a fine grid."""
    if len(np.unique(np.round(tokens_R / unique_R, 2))) < FEWEST_EPOCHS:
        return None, np.array([]), f"runs of at least {FEWEST_EPOCHS} counts of epochs are needed"
    losses_GR = np.stack([Muennighoff(base, r).loss(params_R, tokens_R, unique_R) for r in R_GRID])
    sums_GR = huber(np.log(losses_GR) - np.log(loss_R))
    best = _lowest(sums_GR.sum(1)[None])[0]
    if not R_GRID[1] < best < R_GRID[-2]:
        many = "the runs show no limit to what repeats are worth" if best > 1 else "repeats are worth nothing"
        return None, np.array([]), f"R_D is at the end of its range ({best:.3g}): {many}"
    return Muennighoff(base, float(best)), _lowest(weights_SR @ sums_GR.T), None


def _lowest(sums_SG: np.ndarray) -> np.ndarray:
    """Where along the grid of R a sum is least, [S]."""
    logs = np.log(R_GRID)
    at = np.clip(sums_SG.argmin(1), 1, len(logs) - 2)
    rows = np.arange(len(at))
    low, mid, high = (sums_SG[rows, at + i] for i in (-1, 0, 1))
    bend = low + high - 2 * mid
    shift = np.clip(0.5 * (low - high) / np.where(bend > 0, bend, np.inf), -1, 1)
    return np.exp(logs[at] + shift * (logs[1] - logs[0]))


def fit_quokka(
    base: Law,
    params_R: np.ndarray,
    tokens_R: np.ndarray,
    unique_R: np.ndarray,
    loss_R: np.ndarray,
    start: Quokka | None = None,
) -> tuple[Quokka | None, list[str], str | None]:
    """(law, coefficients that were held at `base` or at 0, why there is none). `start`: a fit nearby, tried alone."""
    if len(np.unique(np.round(tokens_R / unique_R, 2))) < FEWEST_EPOCHS + 2:
        return None, [], f"runs of at least {FEWEST_EPOCHS + 2} counts of epochs are needed"
    repeated = tokens_R > unique_R * 1.001
    kinds = (len(np.unique(params_R[repeated])), len(np.unique(unique_R[repeated])))
    whole = min(kinds) >= FEWEST_FOR_TEN
    middle = (float(np.log(unique_R).mean()), float(np.log(params_R).mean()))
    first = fresh_of(base)

    def law(theta: np.ndarray) -> Quokka:
        p_e, log_gamma, log_e, *more = theta[:5] if whole else theta[:3]
        m, k = more if whole else (0.0, 0.0)
        fresh = Law(*np.exp(theta[5:8]), *theta[8:10]) if whole else base
        c_p = np.exp(log_e - m * middle[0] + k * middle[1])
        return Quokka(fresh, float(p_e), float(np.exp(log_gamma)), float(c_p), float(m), float(k))

    def off(theta_P: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            residual_R = np.log(law(theta_P).loss(params_R, tokens_R, unique_R)) - np.log(loss_R)
        return np.clip(np.nan_to_num(residual_R, nan=WORST, posinf=WORST, neginf=-WORST), -WORST, WORST)

    starts = [[p, np.log(g), np.log(e), *([0.3, 0.4, *first] if whole else [])] for p, g, e in QUOKKA_STARTS]
    if start is not None:
        log_e = np.log(start.c_p) + start.m_p * middle[0] - start.k_p * middle[1]
        more = [start.m_p, start.k_p, *fresh_of(start.base)] if whole else []
        starts = [[start.p_e, np.log(start.gamma), log_e, *more]]
    solutions = []
    for begin in starts:
        theta = np.array(begin)
        for scale in (0.1, DELTA) if start is None else (DELTA,):  # all residuals alike, then as approach 3 weighs them
            theta = least_squares(off, theta, loss="huber", f_scale=scale, x_scale="jac", max_nfev=2000).x
        solutions.append((float(huber(off(theta)).sum()), theta))
    held = [] if whole else ["E", "A", "B", "alpha", "beta", "m_p", "k_p"]
    return law(min(solutions, key=lambda pair: pair[0])[1]), held, None


def fresh_of(law: Law) -> list[float]:
    """Logs of E, A and B, and the exponents."""
    return [float(v) for v in (np.log(law.E), np.log(law.A), np.log(law.B), law.alpha, law.beta)]
