"""Which positions come first: the order rules.

    generate(model, prompts, order="margin", order_noise=0.5)

An order gives every open position a priority. A *blind* order knows it before the pass, so that network's last layer
and head run at the chosen positions only; the others *judge* the proposals at every open position. `ancestral` says
itself which positions a step unmasks; for the others the quota says how many. Rows never compete: all is per row.

ancestral      the reverse process of arXiv 2410.18514 (linear schedule, t from 1 to 1e-5): each mask is unmasked with
               probability 1 - s/t. Survival to time s is s, so one uniform u per position, drawn before, fixes its
               step: the first whose s <= u. Steps in which nothing happens cost no pass; the law is exactly the same.
first-hitting  the same process with infinitely many steps (arXiv 2409.02908): the masks one by one, in the order of
               their uniforms; the largest of n uniforms has the law of u^(1/n). A pass per token.
confidence     highest p(x0) of the token drawn (MaskGIT, arXiv 2202.04200; the paper's greedy sampler)
margin         highest p1 - p2 (arXiv 2502.06768)
entropy        lowest entropy;  high-entropy: the other end (arXiv 2411.06438)
random         uniformly random, also among masks that were tokens before (`revise`)
left-to-right  lowest position
dilated        positions of the block in bit-reversed order: neighbours come late, when much stands around them

`order_noise` n adds n t G to a judged order's score (log p, log margin, -entropy), G a Gumbel draw and t the noise
level: MaskGIT's annealed randomness.

Shapes: R rows in a turn, L positions, N proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from decoding.before.rules.registry import Parameter, Registered
from decoding.before.state.turn import ORDERING, UNMASKING, Turn

LAST_T = 1e-5
# Relative; of float32 networks the rounding in another batch is a tenth of it.
TIE = 1e-5


@dataclass(frozen=True)
class Order(Registered):
    """A rule: `blind` ranks a turn before the pass, `judge` names the statistic of proposals that ranks them."""

    blind: Callable[[Turn], torch.Tensor] | None = None  # turn -> priority_RL
    judge: str | None = None  # "probability", "margin" or "entropy"
    sign: float = 1.0
    unmasks: Callable[[Turn], torch.Tensor] | None = None  # turn -> chosen_RL: an order that needs no quota
    one_by_one: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)

    @property
    def own_quota(self) -> bool:
        return self.unmasks is not None or self.one_by_one

    def score(self, statistic: torch.Tensor) -> torch.Tensor:
        """The statistic as a score of at most 0 in nats: log p, log margin, minus entropy. For noise and `p2`."""
        return self.sign * statistic if self.judge == "entropy" else statistic.clamp(min=1e-300).log()


def by_key(turn: Turn) -> torch.Tensor:
    return turn.keys_RL


def at_random(turn: Turn) -> torch.Tensor:
    """One random order of a row's positions; where remasking opens some of them again, a new one each step: under the
    old one what came first would, taken back, be the first to come again, and even under a new key of its own it would
    stand before masks that are left because theirs are low."""
    return turn.keys_RL if turn.share_R is None else turn.uniforms(ORDERING)


def by_position(turn: Turn) -> torch.Tensor:
    return -torch.arange(turn.open_RL.shape[1], dtype=torch.float64).expand(turn.open_RL.shape)


def by_reversed_bits(turn: Turn) -> torch.Tensor:
    """Minus the index within the block with its bits reversed: 0, 1/2, 1/4, 3/4, ... of the block."""
    bits = max(1, int(turn.index_RL.max()).bit_length())
    reversed_RL = torch.zeros_like(turn.index_RL)
    for bit in range(bits):
        reversed_RL |= (turn.index_RL >> bit & 1) << (bits - 1 - bit)
    return -reversed_RL.double()


def ancestral(turn: Turn) -> torch.Tensor:
    """The masks that this step unmasks: those whose pre-drawn time falls into it, or, where remasking gives new
    times, each with the turn's own share."""
    if turn.share_R is not None:
        chosen_RL = turn.open_RL & (turn.uniforms(UNMASKING) < turn.share_R[:, None])
    else:
        s_R = 1 - (turn.step_R + 1).double() / turn.steps_R * (1 - LAST_T)
        chosen_RL = turn.open_RL & (turn.keys_RL >= s_R[:, None])
    return torch.where(turn.last_R[:, None], turn.open_RL, chosen_RL)


ORDERS: dict[str, Order] = {
    "ancestral": Order(blind=by_key, unmasks=ancestral),
    "first-hitting": Order(blind=by_key, one_by_one=True),
    "confidence": Order(judge="probability"),
    "margin": Order(judge="margin"),
    "entropy": Order(judge="entropy", sign=-1.0),
    "high-entropy": Order(judge="entropy"),
    "random": Order(blind=at_random),
    "left-to-right": Order(blind=by_position),
    "dilated": Order(blind=by_reversed_bits),
}


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
