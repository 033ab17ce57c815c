"""How the share of masked tokens grows with the noise level t in [0, 1].

    SCHEDULES["cosine"].mask_probability(np.array([0.0, 0.5, 1.0]))      # [0, 0.2929, 1]
    SCHEDULES["cosine"].levels(np.array([0.0, 0.5]), least=1e-3)         # p from 0.001 up, and the weights of its terms

A token is masked with probability p(t) = 1 - alpha(t), and the NELBO weighs its cross-entropy by p'(t) / p(t)
(= -alpha' / (1 - alpha); arXiv 2406.07524, arXiv 2406.04329). The NELBO does not depend on the schedule, which only
changes the variance and which levels training visits: a test holds all of them against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Schedule:
    """p(t), rising from 0 to 1; its derivative; its inverse t(p)."""

    mask_probability: Function
    derivative: Function
    inverse: Function

    def weight(self, t: np.ndarray) -> np.ndarray:
        """The NELBO's weight p'(t) / p(t); infinite at t = 0 for every schedule here."""
        return self.derivative(t) / self.mask_probability(t)

    def levels(self, t: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Mask probabilities from `least` to 1 for t uniform in [0, 1), and the weight of each one's cross-entropy.

        The levels are those between t(least) and 1, so that the weights are finite. Their expectation is the mean over
        p uniform in [least, 1] of 1/p times the summed cross-entropy, whatever the schedule: the NELBO but for what
        lies below `least`, where a token is predicted from all others.
        """
        first = float(self.inverse(np.asarray(least)))
        level = (1 - first) * t + first
        # The levels' share of [0, 1] over the share of p that they cover; exactly 1 where p = t.
        return self.mask_probability(level), (1 - first) / (1 - least) * self.weight(level)


SCHEDULES = {
    # The paper's: p = t, weight 1/t.
    "linear": Schedule(lambda t: t, np.ones_like, lambda p: p),
    # MaskGIT's: most samples have few tokens masked.
    "cosine": Schedule(
        lambda t: 1 - np.cos(np.pi / 2 * t),
        lambda t: np.pi / 2 * np.sin(np.pi / 2 * t),
        lambda p: np.arccos(1 - p) * 2 / np.pi,
    ),
    "quadratic": Schedule(lambda t: t**2, lambda t: 2 * t, np.sqrt),
    # The mirror image: most samples have many tokens masked.
    "square-root": Schedule(np.sqrt, lambda t: 0.5 / np.sqrt(t), np.square),
}


def counts(p: np.ndarray, length: int | np.ndarray) -> np.ndarray:
    """The count of masks 1..L whose interval ((c-1)/L, c/L] holds p."""
    return np.clip(np.ceil(p * length), 1, length)
