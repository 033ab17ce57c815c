"""Which positions come first: the order rules.

    generate(model, prompts, order="margin", order_noise=0.5)

An order gives every open position a priority. A *blind* order knows it before the pass, so that network's last layer
and head run at the chosen positions only; the others *judge* the proposals at every open position. `ancestral` says
itself which positions a step unmasks; for the others the quota says how many. Rows never compete: all is per row.

`order_noise` n adds n t G to a judged order's score (log p, log margin, -entropy), G a Gumbel draw and t the noise
level: MaskGIT's annealed randomness.

Shapes: R rows in a turn, L positions, N proposals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.registry import Registry, Rule
from unmask.decoding.state.turn import ORDERING, UNMASKING, Turn

LAST_T = 1e-5
# Relative; of float32 networks the rounding in another batch is a tenth of it.
TIE = 1e-5


@dataclass(frozen=True)
class Order(Rule):
    """A rule: `priority`, or `takes` where it needs no quota. One that reads nothing is blind: it is asked before the
    pass, without answers."""

    own_quota: ClassVar[bool] = False  # `takes` says which positions a step writes
    one_by_one: ClassVar[bool] = False  # a pass per token, so that there is no number of steps
    scored: ClassVar[bool] = False  # it has a `score`

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        """[R, L], the highest first."""
        raise NotImplementedError

    def takes(self, turn: Turn) -> torch.Tensor:
        """Bool [R, L]: which of `turn.eligible_RL` this step writes."""
        raise NotImplementedError

    def score(self, answers: Answers, standing: bool = False) -> torch.Tensor:
        """Proposals in nats, at most 0: what noise is added to and `p2` compares. standing: tokens that stand there."""
        raise NotImplementedError


ORDERS: Registry[Order] = Registry("order")


class Judged(Order):
    """Ranks proposals by the one statistic that it reads."""

    scored = True
    sign: ClassVar[float] = 1.0

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        assert answers is not None
        return self.sign * answers[self.reads[0]]

    def score(self, answers: Answers, standing: bool = False) -> torch.Tensor:
        return answers[self.reads[0]].clamp(min=1e-300).log()


@ORDERS.register("ancestral")
class Ancestral(Order):
    """The reverse process: at a step from t to s each mask is unmasked with probability 1 - s/t (arXiv 2410.18514).

    t goes from 1 to 1e-5. Survival to time s is s, so one uniform u per position, drawn before, fixes its step: the
    first whose s <= u; where remasking gives new times, each step unmasks with the turn's own share. Steps in which
    nothing happens cost no pass; the law is exactly the same.
    """

    chance = True
    own_quota = True

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        return turn.keys_RL

    def takes(self, turn: Turn) -> torch.Tensor:
        if turn.share_R is not None:
            chosen_RL = turn.eligible_RL & (turn.uniforms(UNMASKING) < turn.share_R[:, None])
        else:
            s_R = 1 - (turn.step_R + 1).double() / turn.steps_R * (1 - LAST_T)
            chosen_RL = turn.eligible_RL & (turn.keys_RL >= s_R[:, None])
        return torch.where(turn.last_R[:, None], turn.open_RL, chosen_RL)


@ORDERS.register("first-hitting")
class FirstHitting(Ancestral):
    """The same with infinitely many steps: one mask a pass, in the order of their times (arXiv 2409.02908).

    The mask with the largest uniform comes first; the largest of n uniforms has the law of u^(1/n).
    """

    one_by_one = True

    def takes(self, turn: Turn) -> torch.Tensor:
        return top(turn.keys_RL, turn.eligible_RL, turn.left_R.clamp(max=1))


@ORDERS.register("confidence")
class Confidence(Judged):
    """Highest probability of the drawn token (arXiv 2202.04200): the paper's greedy sampler."""

    reads = ("probability",)

    def score(self, answers: Answers, standing: bool = False) -> torch.Tensor:
        return answers["given" if standing else "probability"].clamp(min=1e-300).log()


@ORDERS.register("top-probability")
class TopProbability(Judged):
    """Highest probability of the likeliest token, whichever token is drawn (arXiv 2502.06768)."""

    reads = ("best",)


@ORDERS.register("margin")
class Margin(Judged):
    """Largest gap between the probabilities of the two likeliest tokens (arXiv 2502.06768)."""

    reads = ("margin",)


@ORDERS.register("entropy")
class Entropy(Judged):
    """Lowest entropy."""

    reads = ("entropy",)
    sign = -1.0

    def score(self, answers: Answers, standing: bool = False) -> torch.Tensor:
        return self.sign * answers["entropy"]


@ORDERS.register("high-entropy")
class HighEntropy(Entropy):
    """Highest entropy (arXiv 2411.06438)."""

    sign = 1.0


@ORDERS.register("random")
class Random(Order):
    """Uniformly random; under remasking anew each step: a mask that was a token before waits like any other.

    Under the old order what came first would, taken back, be the first to come again, and even under a new key of its
    own it would stand before masks that are left because theirs are low.
    """

    chance = True

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        return turn.keys_RL if turn.share_R is None else turn.uniforms(ORDERING)


@ORDERS.register("left-to-right")
class LeftToRight(Order):
    """Lowest position."""

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        return -torch.arange(turn.open_RL.shape[1], dtype=torch.float64).expand(turn.open_RL.shape)


@ORDERS.register("dilated")
class Dilated(Order):
    """Positions of the block in bit-reversed order (0, 1/2, 1/4, 3/4, ... of it), so that neighbours come late."""

    def priority(self, turn: Turn, answers: Answers | None) -> torch.Tensor:
        bits = max(1, int(turn.index_RL.max()).bit_length())
        reversed_RL = torch.zeros_like(turn.index_RL)
        for bit in range(bits):
            reversed_RL |= (turn.index_RL >> bit & 1) << (bits - 1 - bit)
        return -reversed_RL.double()


def ranking(priority_RL: torch.Tensor, among_RL: torch.Tensor, tie: float = 0.0) -> torch.Tensor:
    """Positions [R, L] of each row, the highest priority first, those not `among` last; equal ones from the left.

    tie: a priority closer than this share to the next higher one counts as equal to it. A network sees the same at
    every position of an empty canvas, and without this the rounding of a batch would choose among them.
    """
    open_RL = priority_RL.masked_fill(~among_RL, -torch.inf)
    value_RK, rank_RK = open_RL.sort(dim=1, descending=True, stable=True)
    if tie == 0:
        return rank_RK
    lower_RK = value_RK[:, :-1] - value_RK[:, 1:] > tie * value_RK[:, :-1].abs()
    class_RK = torch.cat([torch.zeros_like(rank_RK[:, :1]), lower_RK.cumsum(1)], dim=1)
    return torch.zeros_like(rank_RK).scatter_(1, rank_RK, class_RK).argsort(dim=1, stable=True)


def top(priority_RL: torch.Tensor, among_RL: torch.Tensor, count_R: torch.Tensor, tie: float = 0.0) -> torch.Tensor:
    """The `count_R` positions of highest priority in each row, as a bool mask; see `ranking`."""
    rank_RK = ranking(priority_RL, among_RL, tie)
    first_RK = torch.arange(rank_RK.shape[1]) < count_R[:, None]
    return torch.zeros_like(among_RL).scatter_(1, rank_RK, first_RK) & among_RL
