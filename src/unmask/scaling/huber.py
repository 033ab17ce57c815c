"""Many fits at once of log L = logsumexp over terms, each linear in its parameters, by the Huber loss of the residuals.

    problem = Problem([X_A, X_B, X_E])                     # log L_r = logsumexp_k (X_k theta_k)_r
    theta_SP, value_S = problem.minimise(starts_SP, log_loss_SR, weights_SR)

Approach 3 (Hoffmann et al. 2022, arXiv 2203.15556, eq. 10) is the sum of Huber losses, δ = 1e-3, of residuals of log L,
with L = exp(a − α log N) + exp(b − β log D) + exp(e). It is usually minimised by L-BFGS, start by start. Its Hessian is
cheap, so all starts, or all resamples of a bootstrap, take damped Newton steps side by side instead: a step divides the
gradient by the absolute eigenvalues of the Hessian plus a damping that each fit adapts, and is taken where the sum gets
smaller. The sum and not the mean: stopping rules would end early on the mean (arXiv 2404.10102).

Shapes: S fits, R runs, P parameters of all terms, K terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DELTA = 1e-3
CHUNK = 131_072  # numbers in one array of [S, R]: what stays in a cache
MAX_ITERATIONS = 400
LONGEST_STEP = 2.0  # of any parameter, logs and exponents alike
TOLERANCE = 1e-10  # relative gain of a step; three such end a fit
TRIES = 8  # dampings of one step


def huber(residual: np.ndarray) -> np.ndarray:
    """The loss of each residual."""
    near = np.minimum(np.abs(residual), DELTA)
    return near * (np.abs(residual) - 0.5 * near)


class Problem:
    """The terms of a law, as the matrices [R, P_k] that their logarithms are linear in."""

    def __init__(self, terms: Sequence[np.ndarray]) -> None:
        self.terms = [np.ascontiguousarray(term, dtype=np.float64) for term in terms]
        ends = np.cumsum([0, *(term.shape[1] for term in self.terms)])
        self.blocks = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        self.n_params = int(ends[-1])
        self._products = {
            (k, j): (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)
            for k, left in enumerate(self.terms)
            for j, right in enumerate(self.terms)
            if j >= k
        }

    def predict(self, theta_SP: np.ndarray) -> np.ndarray:
        """log L, [S, R]."""
        return self._forward(theta_SP)[0]

    def value(self, theta_SP: np.ndarray, log_loss_SR: np.ndarray, weights_SR: np.ndarray) -> np.ndarray:
        """The weighted sum of Huber losses, [S]."""
        return np.einsum("sr,sr->s", weights_SR, huber(self.predict(theta_SP) - log_loss_SR))

    def minimise(
        self, starts_SP: np.ndarray, log_loss_SR: np.ndarray, weights_SR: np.ndarray | float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """(parameters [S, P], value [S]) of a fit from each start; losses and weights may be one row for all."""
        S, R = len(starts_SP), len(self.terms[0])
        log_loss_SR = np.broadcast_to(np.asarray(log_loss_SR, dtype=np.float64), (S, R))
        weights_SR = np.broadcast_to(np.asarray(weights_SR, dtype=np.float64), (S, R))
        rows = max(1, CHUNK // R)
        parts = [
            self._minimise(starts_SP[i : i + rows], log_loss_SR[i : i + rows], weights_SR[i : i + rows])
            for i in range(0, S, rows)
        ]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _minimise(
        self, starts_SP: np.ndarray, log_loss_SR: np.ndarray, weights_SR: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        theta_SP, damping_S = starts_SP.astype(np.float64), np.full(len(starts_SP), 1e-3)
        value_S = self.value(theta_SP, log_loss_SR, weights_SR)
        small_S = np.zeros(len(theta_SP), dtype=int)
        going = np.arange(len(theta_SP))
        for _ in range(MAX_ITERATIONS):
            losses, weights = log_loss_SR[going], weights_SR[going]
            before = value_S[going]
            theta_SP[going], value_S[going], damping_S[going] = self._step(
                theta_SP[going], losses, weights, before, damping_S[going]
            )
            gained = before - value_S[going] > TOLERANCE * before
            small_S[going] = np.where(gained, 0, small_S[going] + 1)
            going = going[small_S[going] < 3]
            if not len(going):
                break
        return theta_SP, value_S

    def _step(
        self,
        theta_SP: np.ndarray,
        log_loss_SR: np.ndarray,
        weights_SR: np.ndarray,
        value_S: np.ndarray,
        damping_S: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One damped Newton step of each fit; those for which no damping helps stay where they are."""
        gradient_SP, hessian_SPP = self._derivatives(theta_SP, log_loss_SR, weights_SR)
        curvature_SP, axes_SPP = np.linalg.eigh(hessian_SPP)
        curvature_SP = np.abs(curvature_SP)
        largest_S = curvature_SP.max(1) + 1e-300
        along_SP = np.einsum("spq,sp->sq", axes_SPP, gradient_SP)
        theta_SP, value_S, damping_S = theta_SP.copy(), value_S.copy(), damping_S.copy()
        left = np.arange(len(theta_SP))
        for _ in range(TRIES):
            divisor = curvature_SP[left] + (damping_S[left] * largest_S[left])[:, None]
            step = -np.einsum("spq,sq->sp", axes_SPP[left], along_SP[left] / divisor)
            step /= np.maximum(1, np.abs(step).max(1, keepdims=True) / LONGEST_STEP)
            value = self.value(theta_SP[left] + step, log_loss_SR[left], weights_SR[left])
            good = value < value_S[left]
            won = left[good]
            theta_SP[won] += step[good]
            value_S[won] = value[good]
            damping_S[won] = np.maximum(damping_S[won] / 5, 1e-12)
            left = left[~good]
            damping_S[left] = np.minimum(damping_S[left] * 8, 1e8)
            if not len(left):
                break
        return theta_SP, value_S, damping_S

    def _forward(self, theta_SP: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """log L, and each term's share of L."""
        logs = [theta_SP[:, block] @ term.T for block, term in zip(self.blocks, self.terms, strict=True)]
        most_SR = logs[0] if len(logs) == 1 else np.maximum.reduce(logs)
        shares = [np.exp(log - most_SR) for log in logs]
        total_SR = sum(shares[1:], start=shares[0])
        return most_SR + np.log(total_SR), [share / total_SR for share in shares]

    def _derivatives(
        self, theta_SP: np.ndarray, log_loss_SR: np.ndarray, weights_SR: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [S, P] and Hessian [S, P, P] of the sum."""
        log_SR, shares = self._forward(theta_SP)
        residual_SR = log_SR - log_loss_SR
        slope_SR = weights_SR * np.clip(residual_SR, -DELTA, DELTA)
        bend_SR = weights_SR * (np.abs(residual_SR) <= DELTA) - slope_SR
        gradient_SP = np.concatenate([(slope_SR * s) @ t for s, t in zip(shares, self.terms, strict=True)], axis=1)
        hessian_SPP = np.zeros((len(theta_SP), self.n_params, self.n_params))
        for (k, j), products in self._products.items():
            factor_SR = bend_SR * shares[k] * shares[j]
            if k == j:
                factor_SR = factor_SR + slope_SR * shares[k]
            shape = (-1, self.terms[k].shape[1], self.terms[j].shape[1])
            block = (factor_SR @ products).reshape(shape)
            hessian_SPP[:, self.blocks[k], self.blocks[j]] = block
            if k != j:
                hessian_SPP[:, self.blocks[j], self.blocks[k]] = block.transpose(0, 2, 1)
        return gradient_SP, hessian_SPP
