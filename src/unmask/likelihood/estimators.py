"""Estimators of a masked diffusion model's likelihood: which positions to mask, what to score, how to weigh it.

    for look in looks(Estimator("mc-fixed", draws=128), length=7, seed=0, key=11):
        ...                                    # mask look.masked, sum CE over look.scored, times look.weight

With L tokens to score and CE summed over masked positions given the rest, three numbers can be meant:

(a) ``nelbo``: the mean over all orders of revealing one token at a time of that order's -log p. An upper bound on (b).
(b) ``order-mixture``: -log of the mean over orders of that order's p: what an any-order sampler, a token a step, draws
    from. At most (a).
(c) ``chain``: -log p of one fixed order, exact for the decoder that follows it; neither a bound nor an estimate of (a).

- ``mc-fixed`` -> (a): fixed counts of masks along random orders. One order of revealing the tokens is followed in
  strides of b tokens from a random start; where k are still masked, the next b are asked for, and their mean CE times b
  counts.
  So every count is met evenly and every token is asked for about once. b = 1 is the chain rule in random order, b = L
  one mask with L/k * CE; b follows from the draws. For b > 1 one more pass with everything masked gives each token a
  baseline: what is drawn is only how much the others tell about it, CE minus baseline, and the sum of the baselines is
  added. That is as unbiased, since every token's weights are 1 on average. Two draws are two masks and no baseline.
  Where all masks there are, 2^L - 1, are no more than the draws, they are run instead: `exact`.
- ``mc-bernoulli`` -> (a): the paper's (arXiv 2410.18514, eps = 0): t uniform, each position masked with chance t;
  CE / t. Its variance is infinite (a 1/t at few masks): its standard error is a lower guess.
- ``exact`` -> (a) by enumeration: a set of k masked positions occurs in 1/C(L,k) of the orders and the next token is
  any of the k, so its CE weighs 1/(k C(L,k)): 2^L - 1 passes.
- ``chain-rule`` -> (c) for the orders left-to-right (the paper's) and right-to-left, L passes; -> (a) for ``random``,
  unbiased, L passes an order.
- ``order-mixture`` -> between (a) and (b): -log of the mean p over K random orders; falls towards (b) as K grows.

The standard error comes from the spread of independent groups: orders, or for Bernoulli masks stretches of draws whose
levels are evenly spaced. All noise is a function of (seed, key, group), so that two models are compared under the same
masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unmask.diffusion.noise import uniforms
from unmask.errors import UserError, nearest

METHODS = ("mc-fixed", "mc-bernoulli", "chain-rule", "order-mixture", "exact")
ORDERS = ("left-to-right", "right-to-left", "random")
DEFAULT_DRAWS, DEFAULT_ORDERS = 128, 8
EXACT_LIMIT = 12
MAX_GROUPS = 16  # of Bernoulli draws
# Orders of few draws: one for each 8 passes, since following an order closely gains more than another order does; at
# least 2, so that there is an error, and no more than 8 before every order is followed token by token.
PASSES_PER_ORDER, LEAST_ORDERS, ENOUGH_ORDERS = 8, 2, 8
# Levels and orders are drawn far above any number of masks one could ask for.
LEVEL_DRAW, ORDER_DRAW = 1 << 61, 1 << 60


@dataclass(frozen=True)
class Estimator:
    """A method with its settings. `draws` is 0 where nothing is drawn; raises `UserError` for settings unknown."""

    method: str = "mc-fixed"
    draws: int | None = None  # masks, or orders; None: 128 masks, 8 orders
    order: str = "left-to-right"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(
                f"method '{self.method}' is unknown{nearest(self.method, METHODS)}; methods: {', '.join(METHODS)}"
            )
        if self.order not in ORDERS:
            raise UserError(
                f"order '{self.order}' is unknown{nearest(str(self.order), ORDERS)}; orders: {', '.join(ORDERS)}"
            )
        if self.method != "chain-rule" and self.order != "left-to-right":
            raise UserError(f"order '{self.order}' does not concern method {self.method}, only chain-rule")
        masks = self.method.startswith("mc-")
        draws = (DEFAULT_DRAWS if masks else DEFAULT_ORDERS) if self.draws is None else self.draws
        check_draws(draws, 2 if self.sampled else 0)
        object.__setattr__(self, "draws", int(draws) if self.sampled else 0)

    @property
    def sampled(self) -> bool:
        return self.method not in ("exact", "chain-rule") or self.order == "random"

    @property
    def target(self) -> str:
        """``nelbo``, ``order-mixture`` or ``chain``: (a), (b) or (c) above."""
        if self.method == "order-mixture":
            return "order-mixture"
        return "chain" if self.method == "chain-rule" and self.order != "random" else "nelbo"

    @property
    def is_bound(self) -> bool:
        return self.target != "chain"

    def for_length(self, length: int, draws: int) -> Estimator:
        """This one, or `exact` where so many draws of fixed counts cost no less than all masks there are."""
        small = self.method == "mc-fixed" and length <= EXACT_LIMIT and (1 << length) - 1 <= draws
        return Estimator("exact") if small else self

    def stride(self, length: int, draws: int) -> int:
        """Tokens from one pass to the next along an order."""
        if self.method != "mc-fixed":
            return 1
        orders = min(ENOUGH_ORDERS, max(LEAST_ORDERS, draws // PASSES_PER_ORDER))
        closely = -(-length // min(length, max(1, draws // orders)))
        return closely if closely == 1 else -(-length // max(1, (draws - 1) // orders))

    def groups(self, length: int, draws: int) -> list[int]:
        """Sizes of the independent groups of so many draws: an order is a group of its own."""
        if self.method == "mc-bernoulli":
            return group_sizes(draws, 4)
        if self.method == "mc-fixed":
            stride = self.stride(length, draws)
            return [1] * ((draws - has_baseline(stride, draws)) // -(-length // stride))
        return [1] * draws


@dataclass(frozen=True, eq=False)
class Look:
    """One pass: positions count from the first scored token."""

    draw: int
    masked: np.ndarray
    scored: np.ndarray
    weight: float
    is_baseline: bool = False


def check_draws(draws: int, least: int) -> None:
    if not isinstance(draws, int | np.integer) or isinstance(draws, bool) or draws < least:
        why = ", so that there is a standard error" if least > 1 else ""
        raise UserError(f"draws is {draws!r}; give a whole number of at least {least}{why}")


def has_baseline(stride: int, draws: int) -> bool:
    """Whether `mc-fixed` spends a pass on a baseline: a third of three draws, and more than there is of two."""
    return stride > 1 and draws > LEAST_ORDERS


def group_sizes(draws: int, smallest: int) -> list[int]:
    """Draws split into independent groups of `smallest` or more: 2 to `MAX_GROUPS` of them where draws allow."""
    groups = min(draws, MAX_GROUPS, max(2, draws // smallest))
    return [draws // groups + (g < draws % groups) for g in range(groups)]


def stratified_levels(seed: int, key: int, size: int, group: int) -> np.ndarray:
    """t of a group's draws in [0, 1): evenly spaced from a random start; groups are independent."""
    return (uniforms(seed, key, 1, LEVEL_DRAW + group)[0] + np.arange(size) / size) % 1.0


def fixed_mask(t: float, u_L: np.ndarray) -> np.ndarray:
    """Exactly k = 1 + floor(t L) positions, those of the smallest u; uniform over counts and over sets."""
    count = min(1 + int(t * len(u_L)), len(u_L))
    return np.sort(np.argsort(u_L, kind="stable")[:count])


def looks(
    estimator: Estimator,
    length: int,
    seed: int,
    key: int,
    sizes: list[int] | None = None,
    stride: int | None = None,
    first_group: int = 0,
    first_draw: int = 0,
) -> Iterator[Look]:
    """The passes of an estimator. Bernoulli draws that mask nothing contribute 0 and are left out.

    `Look.draw` counts what the mean is taken over: Bernoulli masks, or whole orders. sizes, stride: by default those of
    the estimator's draws; groups are numbered from `first_group`, draws from `first_draw`, so that more can be added.
    """
    draws = estimator.draws or 0
    if estimator.method == "exact":
        yield from _all_masks(length)
        return
    if not estimator.sampled:
        forward = np.arange(length)
        yield from _along(forward if estimator.order == "left-to-right" else forward[::-1], 1, 0, 0)
        return
    sizes = estimator.groups(length, draws) if sizes is None else sizes
    stride = estimator.stride(length, draws) if stride is None else stride
    draw = first_draw
    if has_baseline(stride, draws) and not first_group:
        everything = np.arange(length)
        yield Look(0, everything, everything, 0.0, is_baseline=True)
    for group, size in enumerate(sizes, first_group):
        if estimator.method == "mc-bernoulli":
            for t in stratified_levels(seed, key, size, group):
                masked = np.flatnonzero(uniforms(seed, key, length, draw) < t)
                if len(masked):
                    yield Look(draw, masked, masked, 1 / t)
                draw += 1
        else:
            order = np.argsort(uniforms(seed, key, length, ORDER_DRAW + group))
            start = int(stride * uniforms(seed, key, 1, LEVEL_DRAW + group)[0])
            yield from _along(order, stride, start, draw)
            draw += 1


def _along(order: np.ndarray, stride: int, start: int, draw: int) -> Iterator[Look]:
    """An order followed in strides: its first tokens are seen, the next `stride` asked for, the rest masked too."""
    for step in range(start, len(order), stride):
        scored = order[step : step + stride]
        yield Look(draw, np.sort(order[step:]), np.sort(scored), stride / len(scored))


def _all_masks(length: int) -> Iterator[Look]:
    if length > EXACT_LIMIT:
        raise UserError(
            f"method 'exact' runs 2^L - 1 passes and stops at L = {EXACT_LIMIT} tokens, here are {length}; use mc-fixed"
        )
    for subset in range(1, 1 << length):
        masked = np.flatnonzero([subset >> i & 1 for i in range(length)])
        yield Look(subset - 1, masked, masked, 1 / (len(masked) * math.comb(length, len(masked))))


def combine(values: np.ndarray, sizes: list[int]) -> tuple[float, float]:
    """Mean of all draws and its standard error from the spread of the groups' means (0.0 for a single group)."""
    mean = float(values.mean())
    if len(sizes) < 2:
        return mean, 0.0
    shares = np.array(sizes) / sum(sizes)
    means = np.add.reduceat(values, np.cumsum([0, *sizes[:-1]])) / np.array(sizes)
    spread = float((shares**2 * (means - mean) ** 2).sum())
    return mean, math.sqrt(spread * len(sizes) / (len(sizes) - 1))


def combine_mixture(nats: np.ndarray) -> tuple[float, float]:
    """-log of the mean of exp(-nats) over independent orders and, to first order, its standard error."""
    least = float(nats.min())
    p = np.exp(least - nats)
    return least - math.log(p.mean()), float(p.std(ddof=1) / p.mean() / math.sqrt(len(p)))
