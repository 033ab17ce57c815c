"""Estimators of a masked diffusion model's likelihood: which positions to mask, what to score, how to weigh it.

    for look in looks("mc-fixed", length=7, draws=128, seed=0, key=11):
        ...                                    # mask look.masked, sum CE over look.scored, times look.weight

With L tokens to score and CE summed over masked positions, given the rest:

- ``mc-fixed``: a count k uniform on 1..L and exactly k positions masked; L/k * CE is unbiased for the NELBO.
- ``mc-bernoulli``: the paper's (arXiv 2410.18514, eps = 0): t uniform, each position masked with probability t; CE / t.
  Unbiased for the same number, but its variance is infinite (a 1/t at few masks): its standard error is a lower guess.
- ``exact``: the NELBO itself, the mean over all orders of revealing one token at a time. A set of k masked positions
  occurs in 1/C(L,k) of the orders and the next token is any of the k, so its CE weighs 1/(k C(L,k)): 2^L - 1 passes.
- ``chain-rule``: left to right, one pass a token, all later ones masked: the likelihood of one fixed order, no bound
  over orders.

Levels are stratified within independent groups of draws, whose spread gives the standard error. All noise is a function
of (seed, key, draw), so that two models are compared under the same masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unmask.diffusion.noise import uniforms
from unmask.errors import UserError, nearest

METHODS = ("mc-fixed", "mc-bernoulli", "chain-rule", "exact")
EXACT_LIMIT = 12
MAX_GROUPS = 16
# Levels are drawn far above any number of masks one could ask for.
LEVEL_DRAW = 1 << 61


@dataclass(frozen=True, eq=False)
class Look:
    """One pass: positions count from the first scored token."""

    draw: int
    masked: np.ndarray
    scored: np.ndarray
    weight: float


def check_method(method: str) -> None:
    if method not in METHODS:
        raise UserError(f"method '{method}' is unknown{nearest(method, METHODS)}; methods: {', '.join(METHODS)}")


def is_monte_carlo(method: str) -> bool:
    return method.startswith("mc-")


def check_draws(draws: int, least: int) -> None:
    if not isinstance(draws, int | np.integer) or isinstance(draws, bool) or draws < least:
        why = ", so that there is a standard error" if least > 1 else ""
        raise UserError(f"draws is {draws!r}; give a whole number of at least {least}{why}")


def group_sizes(draws: int, smallest: int) -> list[int]:
    """Draws split into independent groups of `smallest` or more: 2 to `MAX_GROUPS` of them where draws allow."""
    groups = min(draws, MAX_GROUPS, max(2, draws // smallest))
    return [draws // groups + (g < draws % groups) for g in range(groups)]


def stratified_levels(seed: int, key: int, sizes: list[int]) -> np.ndarray:
    """t of every draw in [0, 1): within a group evenly spaced from a random start, between groups independent."""
    starts = (uniforms(seed, key, 1, LEVEL_DRAW + g)[0] for g in range(len(sizes)))
    return np.concatenate([(start + np.arange(m) / m) % 1.0 for start, m in zip(starts, sizes, strict=True)])


def fixed_mask(t: float, u_L: np.ndarray) -> np.ndarray:
    """Exactly k = 1 + floor(t L) positions, those of the smallest u; uniform over counts and over sets."""
    count = min(1 + int(t * len(u_L)), len(u_L))
    return np.sort(np.argsort(u_L, kind="stable")[:count])


def looks(method: str, length: int, draws: int, seed: int, key: int) -> Iterator[Look]:
    """The passes of a method. Monte Carlo draws that mask nothing contribute 0 and are left out."""
    if method == "chain-rule":
        for position in range(length):
            yield Look(position, np.arange(position, length), np.array([position]), 1.0)
    elif method == "exact":
        if length > EXACT_LIMIT:
            raise UserError(
                f"method 'exact' runs 2^L - 1 passes and stops at L = {EXACT_LIMIT} tokens, here are {length}; "
                "use mc-fixed"
            )
        for subset in range(1, 1 << length):
            masked = np.flatnonzero([subset >> i & 1 for i in range(length)])
            yield Look(subset - 1, masked, masked, 1 / (len(masked) * math.comb(length, len(masked))))
    else:
        t_draws = stratified_levels(seed, key, group_sizes(draws, 4))
        for draw, t in enumerate(t_draws):
            u_L = uniforms(seed, key, length, draw)
            if method == "mc-fixed":
                masked = fixed_mask(t, u_L)
                yield Look(draw, masked, masked, length / len(masked))
            elif len(masked := np.flatnonzero(u_L < t)):
                yield Look(draw, masked, masked, 1 / t)


def combine(values: np.ndarray, sizes: list[int]) -> tuple[float, float]:
    """Mean of all draws and its standard error from the spread of the groups' means (0.0 for a single group)."""
    mean = float(values.mean())
    if len(sizes) < 2:
        return mean, 0.0
    shares = np.array(sizes) / sum(sizes)
    means = np.add.reduceat(values, np.cumsum([0, *sizes[:-1]])) / np.array(sizes)
    spread = float((shares**2 * (means - mean) ** 2).sum())
    return mean, math.sqrt(spread * len(sizes) / (len(sizes) - 1))
