"""f(N): training FLOPs a token of a model of N non-embedding parameters, by which a budget is C = f(N) D.

    cost = Cost()                                   # the paper's rule, f(N) = 6 N
    cost = Cost.of_runs(flops, params, tokens)      # exact counts: attention and head as well, read off the runs
    cost(80e6), cost.params(5e8)

At small sizes attention and the head are a large share of a token's FLOPs, so the best N of a budget is not where 6 N D
would have it. Between the sizes that were run log f is interpolated in log N, and goes on in a straight line beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIX_ND_TOLERANCE = 0.01  # tokens are whole steps, budgets are round


@dataclass(frozen=True)
class Cost:
    """f(N) through the points (log N, log f), ascending; the rule 6 N where there are none."""

    log_params: tuple[float, ...] = ()
    log_flops: tuple[float, ...] = ()

    @classmethod
    def of_runs(cls, flops_R: np.ndarray, params_R: np.ndarray, tokens_R: np.ndarray) -> Cost:
        """By what each run's FLOPs, size and tokens say; the rule 6 N where all follow it."""
        each_R = flops_R / tokens_R
        if follows_six_nd(flops_R, params_R, tokens_R):
            return cls()
        sizes = np.unique(params_R)
        each = [float(np.median(np.log(each_R[params_R == size]))) for size in sizes]
        if len(sizes) == 1:  # one size says how far it is from 6 N, and no more
            sizes, each = np.array([sizes[0], sizes[0] * 10]), [each[0], each[0] + float(np.log(10))]
        return cls(tuple(float(v) for v in np.log(sizes)), tuple(each))

    @property
    def six_nd(self) -> bool:
        return not self.log_params

    def log(self, log_params: np.ndarray) -> np.ndarray:
        """log f at log N, any shape."""
        if self.six_nd:
            return log_params + np.log(6.0)
        return _through(log_params, np.array(self.log_params), np.array(self.log_flops))

    def __call__(self, params: np.ndarray | float) -> np.ndarray:
        """FLOPs a token."""
        return np.exp(self.log(np.log(np.asarray(params, dtype=np.float64))))

    def params(self, flops_per_token: np.ndarray | float) -> np.ndarray:
        """The size that takes so many FLOPs a token."""
        log_flops = np.log(np.asarray(flops_per_token, dtype=np.float64))
        if self.six_nd:
            return np.exp(log_flops - np.log(6.0))
        return np.exp(_through(log_flops, np.array(self.log_flops), np.array(self.log_params)))

    def to_dict(self) -> dict[str, object]:
        """JSON values: the rule, and for exact counts the points."""
        points = [[float(np.exp(n)), float(np.exp(f))] for n, f in zip(self.log_params, self.log_flops, strict=True)]
        return {"rule": "6nd" if self.six_nd else "exact", "params_and_flops_per_token": points}

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> Cost:
        """The way back."""
        points = fields.get("params_and_flops_per_token") or []
        pairs = [(float(np.log(n)), float(np.log(f))) for n, f in points]  # type: ignore[attr-defined]
        return cls(tuple(n for n, _ in pairs), tuple(f for _, f in pairs))


def follows_six_nd(flops_R: np.ndarray, params_R: np.ndarray, tokens_R: np.ndarray) -> bool:
    """Whether C = 6 N D holds for all of these runs, to rounding."""
    return bool(np.all(np.abs(flops_R / (6 * params_R * tokens_R) - 1) < SIX_ND_TOLERANCE))


def _through(x: np.ndarray, at_K: np.ndarray, values_K: np.ndarray) -> np.ndarray:
    """Piecewise linear through the points, and straight on beyond them."""
    left = np.clip(np.searchsorted(at_K, x, side="right") - 1, 0, len(at_K) - 2)
    slope = (values_K[left + 1] - values_K[left]) / (at_K[left + 1] - at_K[left])
    return values_K[left] + slope * (x - at_K[left])
