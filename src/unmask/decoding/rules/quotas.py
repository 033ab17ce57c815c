"""How many positions a pass commits: the quotas.

    generate(model, prompts, order="confidence", quota="threshold:0.9", steps=64)

Fixed quotas know the number before the pass, from the step. Adaptive ones read it from the proposals, ranked by the
order; c is the largest probability of a position, H its entropy in nats. At least one position is committed; `steps`,
where given, bounds the passes, and a row that falls behind commits as many more as it must.

Shapes: R rows, L positions, K ranks (positions that may be written by priority, then the rest).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from unmask.decoding.rules.answers import Ranked
from unmask.decoding.rules.orders import LAST_T
from unmask.decoding.rules.registry import Registry, Rule, parameter
from unmask.decoding.state.turn import Turn


@dataclass(frozen=True)
class Quota(Rule):
    """A rule: `count` before the pass, or, where it is adaptive, `admit` after it."""

    adaptive: ClassVar[bool] = False

    def count(self, turn: Turn) -> torch.Tensor:
        """How many positions of each row a step writes [R]; at a block's last step all are."""
        raise NotImplementedError

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        """Bool [R, K]: which of the ranked positions the pass allows to write."""
        raise NotImplementedError


QUOTAS: Registry[Quota] = Registry("quota")


class Adaptive(Quota):
    adaptive = True


@QUOTAS.register("paper")
class Paper(Quota):
    """int(n (1 - s/t)) of the n masks left, t falling evenly from 1 to 1e-5 (arXiv 2410.18514)."""

    def count(self, turn: Turn) -> torch.Tensor:
        if turn.share_R is not None:
            return (turn.left_R * turn.share_R).long()
        shares = {steps: unmask_share(steps) for steps in set(turn.steps_R.tolist())}
        last_R = turn.steps_R - 1
        at_R = torch.minimum(turn.step_R, last_R)
        share_R = torch.stack([shares[n][i] for n, i in zip(turn.steps_R.tolist(), at_R.tolist(), strict=True)])
        return (turn.left_R * share_R).long()


@lru_cache(maxsize=64)
def unmask_share(steps: int) -> torch.Tensor:
    """1 - s/t of each step, in fp32 as the reference: rounding decides some quotas."""
    t = torch.linspace(1, LAST_T, steps + 1)
    return 1 - t[1:] / t[:-1]


@QUOTAS.register("even")
class Even(Quota):
    """The same number each step, the first ones one more (arXiv 2502.09992)."""

    def count(self, turn: Turn) -> torch.Tensor:
        steps_left_R = (turn.steps_R - turn.step_R).clamp(min=1)
        return -(-turn.left_R // steps_left_R)


@QUOTAS.register("threshold")
@dataclass(frozen=True)
class Threshold(Adaptive):
    """Every position whose likeliest token has c > threshold (arXiv 2505.22618)."""

    reads = ("best",)
    threshold: float = parameter(0.9, 0.0, 1.0, above=True)

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        return ranked["best"] > self.threshold


@QUOTAS.register("factor")
@dataclass(frozen=True)
class Factor(Adaptive):
    """The longest prefix of the order with (k + 1)(1 - c_k) < factor, c_k the worst of its k (arXiv 2505.22618)."""

    reads = ("best",)
    factor: float = parameter(1.0, above=True)

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        k_K = torch.arange(1, ranked.open_RK.shape[1] + 1)
        worst_RK = ranked["best"].cummin(1).values
        return longest(ranked.open_RK & ((k_K + 1) * (1 - worst_RK) < self.factor))


@QUOTAS.register("entropy-bounded")
@dataclass(frozen=True)
class EntropyBounded(Adaptive):
    """The longest prefix of the order with (sum of H) - (largest H) <= bound (arXiv 2505.24857)."""

    reads = ("entropy",)
    bound: float = parameter(0.1)

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        entropy_RK = ranked["entropy"].masked_fill(~ranked.open_RK, 0)
        spent_RK = entropy_RK.cumsum(1) - entropy_RK.cummax(1).values
        return longest(ranked.open_RK & (spent_RK <= self.bound))


@QUOTAS.register("klass")
@dataclass(frozen=True)
class Klass(Adaptive):
    """c > threshold, and KL(now || pass before) < kl for `history` passes (arXiv 2511.05664)."""

    reads = ("best", "drift")
    threshold: float = parameter(0.9, 0.0, 1.0, above=True)
    kl: float = parameter(0.01, above=True)
    history: float = parameter(2, 1, whole=True)

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        held_BL = turn.table.positions("klass: held", torch.int64)
        answers, held_RL = ranked.answers, held_BL[turn.rows_R]
        still_RL = torch.where(answers["drift"] < self.kl, held_RL + 1, 0)
        held_RL = held_BL[turn.rows_R] = torch.where(answers.asked_RL, still_RL, held_RL)
        return (ranked["best"] > self.threshold) & (ranked.ranked(held_RL) >= self.history)


def longest(fits_RK: torch.Tensor) -> torch.Tensor:
    """Every rank up to the last that fits."""
    return fits_RK.flip(1).cummax(1).values.flip(1)
