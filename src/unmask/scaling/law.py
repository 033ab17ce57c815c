"""A parametric scaling law, L(N, D) = E + A / N^α + B / (D − D0)^β, and its compute-optimal frontier.

    law = Law(E=2.413, A=798.6, B=4604.9, alpha=0.379, beta=0.378)
    law.loss(1e9, 2e10)
    law.optimum(1e21, Cost())              # the N and D of C = f(N) D with the lowest loss, and that loss
    law.flops_at(2.9, Cost())              # the least compute that reaches a loss

Hoffmann et al. 2022 (arXiv 2203.15556), approach 3; D0 is 0 there. Where f(N) = 6 N and D0 = 0 the frontier has a
closed form; elsewhere it is searched along N with the exact f. The fields may be arrays of one shape, draws of a
bootstrap; results then have that shape before the one of the budgets asked for.

Shapes: S draws (none for a single law), C budgets or losses, G points of the search.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from unmask.scaling.cost import Cost

FIELDS = ("E", "A", "B", "alpha", "beta")
SIZES = (np.log(1e3), np.log(1e15))  # the search along N
COARSE, FINE = 120, 60


class Point(NamedTuple):
    """Optimal size, tokens and loss; nan where there is no optimum."""

    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray


@dataclasses.dataclass(frozen=True)
class Law:
    """E nats a token, A and B in nats times powers of N and D, exponents; all scalars, or all arrays [S].

    D0: tokens before which nothing is learnt but the unigram.
    """

    E: Any
    A: Any
    B: Any
    alpha: Any
    beta: Any
    D0: float = 0.0

    @property
    def n_exponent(self) -> Any:
        """Of N* in C, by the rule 6 N D."""
        return self.beta / (self.alpha + self.beta)

    @property
    def loss_exponent(self) -> Any:
        """Of L* − E in C, by the same rule: negative."""
        return -self.alpha * self.beta / (self.alpha + self.beta)

    def loss(self, params: Any, tokens: Any) -> np.ndarray:
        """Nats a token, [S, ...] for arrays of any shape that `params` and `tokens` have together."""
        params, tokens = np.asarray(params, float), np.asarray(tokens, float)
        return self._loss(params, tokens, np.broadcast(params, tokens).ndim)

    def optimum(self, flops: Any, cost: Cost) -> Point:
        """[S, C]: the best of all (N, D) with f(N) D = C."""
        flops_C = np.atleast_1d(np.asarray(flops, float))
        if cost.six_nd and not self.D0:
            with np.errstate(all="ignore"):  # draws without an optimum end as nan, and not as a warning each
                _, A, B, alpha, beta = self._columns(1)
                G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
                params = G * (flops_C / 6) ** (beta / (alpha + beta))
                params = np.where((alpha > 0) & (beta > 0), params, np.nan)
                return Point(params, flops_C / 6 / params, self._at(params, flops_C / 6 / params))

        def loss(log_params: np.ndarray) -> np.ndarray:
            return self._at(np.exp(log_params), flops_C[:, None] / np.exp(cost.log(log_params)))

        log_params, least = self._search(loss, len(flops_C))
        params = np.exp(log_params)
        return Point(params, flops_C / cost(params), least)

    def flops_at(self, loss: Any, cost: Cost) -> np.ndarray:
        """[S, C]: the least compute that reaches these losses, [C] or [S, C]; nan where none does."""
        loss_C = np.atleast_1d(np.asarray(loss, float))
        if cost.six_nd and not self.D0:
            E = _column(self.E, 1)
            with np.errstate(all="ignore"):
                over = self.optimum(np.array([6.0]), cost).loss - E  # the reducible loss at N D = 1
                return 6.0 * np.where(loss_C > E, ((loss_C - E) / over) ** (1 / _column(self.loss_exponent, 1)), np.nan)
        E, A, B, alpha, beta = self._columns(2)

        def log_flops(log_params: np.ndarray) -> np.ndarray:
            rest = loss_C[..., None] - E - A * np.exp(-alpha * log_params)
            tokens = self.D0 + (B / np.where(rest > 0, rest, np.nan)) ** (1 / beta)
            return np.log(tokens) + cost.log(log_params)

        return np.exp(self._search(log_flops, loss_C.shape[-1])[1])

    def _at(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The loss where the draws' axis is there already, in front of those of the arguments."""
        draws = np.ndim(self.E)
        return self._loss(params, tokens, max(params.ndim, tokens.ndim) - draws if draws else 0)

    def _loss(self, params: np.ndarray, tokens: np.ndarray, trailing: int) -> np.ndarray:
        with np.errstate(all="ignore"):
            E, A, B, alpha, beta = self._columns(trailing)
            after = np.where(tokens > self.D0, tokens - self.D0, np.nan)
            return E + A * params**-alpha + B * after**-beta

    def _columns(self, trailing: int) -> list[np.ndarray]:
        return [_column(getattr(self, name), trailing) for name in FIELDS]

    def _search(self, of: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Where along log N a function is least, and that value, [S, C]; nan where that is at an end, or nowhere."""
        draws = np.shape(self.E)
        with np.errstate(all="ignore"):
            grid = np.broadcast_to(np.linspace(*SIZES, COARSE), (*draws, n, COARSE))
            step, inside = (SIZES[1] - SIZES[0]) / (COARSE - 1), np.ones((*draws, n), dtype=bool)
            for points in (FINE, 0):
                values = np.nan_to_num(of(grid), nan=np.inf)
                best = values.argmin(-1)
                centre = np.take_along_axis(grid, best[..., None], -1)
                if points:
                    inside = (best > 0) & (best < grid.shape[-1] - 1) & np.isfinite(values.min(-1))
                    grid = centre + np.linspace(-step, step, points)
                    step = 2 * step / (points - 1)
            centre, least = _vertex(of, centre, step)
            return np.where(inside, centre, np.nan), np.where(inside, least, np.nan)


def _vertex(of: Any, centre: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The lowest point of the parabola through three points around a minimum."""
    low, mid, high = np.moveaxis(of(centre + np.array([-step, 0.0, step])), -1, 0)
    bend = low + high - 2 * mid
    shift = np.where(bend > 0, 0.5 * (low - high) / np.where(bend > 0, bend, 1), 0.0)
    shift = np.clip(np.nan_to_num(shift), -1, 1)
    return centre[..., 0] + shift * step, mid - 0.25 * (low - high) * shift


def _column(value: Any, trailing: int) -> np.ndarray:
    array = np.asarray(value, float)
    return array.reshape(array.shape + (1,) * trailing) if array.ndim else array
