"""What a model is asked about a text: one sequence, which of its tokens are hidden, and where it is asked for them.

    whole = Query.of(pair, item=3)                       # everything that is to be scored is hidden, and asked for
    whole.part(masked_l, scored_l, draw=5, weight=2.0)   # some of it, by places among what is to be scored

Every estimator is a set of such queries; `passes.run_queries` answers them. Here are also the levels, masks and orders
that several estimators draw. All noise is a function of (seed, key, group), so that two models are compared under the
same masks.

Shapes: T tokens, L of them to be scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unmask.diffusion.noise import uniforms
from unmask.errors import UserError
from unmask.likelihood.pairs import Pair

MAX_GROUPS = 16  # of Bernoulli draws
# Levels and orders are drawn far above any number of masks one could ask for.
LEVEL_DRAW, ORDER_DRAW = 1 << 61, 1 << 60


@dataclass(frozen=True, eq=False)
class Query:
    """One sequence, what of it the model may not see, and where it is asked."""

    ids_T: np.ndarray  # the clean tokens, int64
    masked: np.ndarray  # positions that hold the mask (none for an ARM)
    scored: np.ndarray  # positions whose cross-entropy is wanted
    prompt: int = 0  # leading positions that the unconditional pass masks
    item: int = 0  # for the caller: which text,
    draw: int = 0  # which draw of it (Bernoulli masks are counted, or whole orders),
    weight: float = 1.0  # what to multiply the nats with,
    is_baseline: bool = False  # and whether they are subtracted from those of the others

    @classmethod
    def of(cls, pair: Pair, item: int = 0, causal: bool = False) -> Query:
        """All that is to be scored of a pair; a causal model is asked for it as it stands."""
        scored = np.arange(pair.start, len(pair.ids_T))
        return cls(pair.ids_T, scored[:0] if causal else scored, scored, pair.prompt, item)

    @property
    def length(self) -> int:
        """Tokens asked for."""
        return len(self.scored)

    def part(
        self, masked_l: np.ndarray, scored_l: np.ndarray, draw: int, weight: float, is_baseline: bool = False
    ) -> Query:
        """With some of its tokens masked and some asked for, by their places among those asked for here."""
        masked, scored = self.scored[masked_l], self.scored[scored_l]
        return Query(self.ids_T, masked, scored, self.prompt, self.item, draw, weight, is_baseline)


def along(whole: Query, order_L: np.ndarray, stride: int, start: int, draw: int) -> Iterator[Query]:
    """An order followed in strides: its first tokens are seen, the next `stride` asked for, the rest masked too."""
    for step in range(start, len(order_L), stride):
        scored = order_L[step : step + stride]
        yield whole.part(np.sort(order_L[step:]), np.sort(scored), draw, stride / len(scored))


def random_order(seed: int, key: int, length: int, group: int, stride: int) -> tuple[np.ndarray, int]:
    """An order [L], and where to begin following it in strides."""
    order_L = np.argsort(uniforms(seed, key, length, ORDER_DRAW + group))
    return order_L, int(stride * uniforms(seed, key, 1, LEVEL_DRAW + group)[0])


def check_draws(draws: int, least: int) -> None:
    if not isinstance(draws, int | np.integer) or isinstance(draws, bool) or draws < least:
        why = ", so that there is a standard error" if least > 1 else ""
        raise UserError(f"draws is {draws!r}; give a whole number of at least {least}{why}")


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
