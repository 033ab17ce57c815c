"""Which positions to commit, and how many: order rules, quotas, and the clock that walks each row through its steps.

    generate(model, prompts, order="margin", quota="even", block=32)

An order gives every candidate a priority; the quota says how many of the highest a row commits at a step; the last
step commits all. A blind order knows its choice before the pass, so the head runs at the chosen positions only; the
others judge the proposals at every candidate. Rows never compete: all is per row.

ancestral     the reverse process of arXiv 2410.18514 (linear schedule, t from 1 to 1e-5): each mask is unmasked with
              probability 1 - s/t. Survival to time s is s, so one uniform u per position, drawn before, fixes its step:
              the first whose s <= u. Steps in which nothing happens cost no pass, and the law is exactly the same.
confidence    highest p(x0) first (MaskGIT, arXiv 2202.04200; the paper's greedy sampler)
margin        highest p1 - p2 first (arXiv 2502.06768)
entropy       lowest entropy first
random        uniformly random order
left-to-right lowest position first

Quotas: "paper" k = int(n (1 - s/t)) with n the masks left and t = linspace(1, 1e-5, steps + 1) in fp32;
"even" the same number each step, the first ones one more (LLaDA, arXiv 2502.09992).

Shapes: R rows in a turn, L positions, N candidates, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from unmask.decoding.canvas import Canvas

LAST_T = 1e-5
# Relative; of float32 networks the rounding in another batch is a tenth of it.
TIE = 1e-5


@dataclass
class Turn:
    """The rows that act in one pass, each at a step of its own."""

    rows_R: torch.Tensor  # indices into the canvas
    candidates_RL: torch.Tensor  # open positions of each row's current block
    keys_RL: torch.Tensor  # a uniform per position, drawn once per row
    step_R: torch.Tensor  # within the block
    steps_R: torch.Tensor  # that the block has
    global_step_R: torch.Tensor  # over all blocks
    count_R: torch.Tensor  # how many positions to commit

    @property
    def left_R(self) -> torch.Tensor:
        return self.candidates_RL.sum(1)


# ------------------------------------------------------------------ quotas: how many, as a function of the turn


def paper_quota(turn: Turn) -> torch.Tensor:
    table = {steps: _unmask_share(steps) for steps in set(turn.steps_R.tolist())}
    shares = [table[n][i] for n, i in zip(turn.steps_R.tolist(), turn.step_R.tolist(), strict=True)]
    return (turn.left_R * torch.stack(shares)).long()


@lru_cache(maxsize=64)
def _unmask_share(steps: int) -> torch.Tensor:
    """1 - s/t of each step, in fp32 as the reference: rounding decides some quotas."""
    t = torch.linspace(1, LAST_T, steps + 1)
    return 1 - t[1:] / t[:-1]


def even_quota(turn: Turn) -> torch.Tensor:
    steps_left_R = turn.steps_R - turn.step_R
    return -(-turn.left_R // steps_left_R)


def ancestral_quota(turn: Turn) -> torch.Tensor:
    """How many of the pre-drawn times fall into this step: u >= s, that is not surviving it."""
    s_R = 1 - (turn.step_R + 1).double() / turn.steps_R * (1 - LAST_T)
    return (turn.candidates_RL & (turn.keys_RL >= s_R[:, None])).sum(1)


QUOTAS: dict[str, Callable[[Turn], torch.Tensor]] = {"paper": paper_quota, "even": even_quota}


# ------------------------------------------------------------------ orders: the priority of each candidate


def by_key(turn: Turn) -> torch.Tensor:
    return turn.keys_RL


def by_position(turn: Turn) -> torch.Tensor:
    return -torch.arange(turn.candidates_RL.shape[1], dtype=torch.float64).expand(turn.candidates_RL.shape)


def by_probability(logp_NV: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
    return logp_NV.gather(-1, tokens_N[:, None])[:, 0].exp()


def by_margin(logp_NV: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
    top_N2 = logp_NV.topk(min(2, logp_NV.shape[-1]), dim=-1).values.exp()
    return top_N2[:, 0] - top_N2[:, -1]


def by_entropy(logp_NV: torch.Tensor, tokens_N: torch.Tensor) -> torch.Tensor:
    return torch.special.xlogy(logp_NV.exp(), logp_NV.exp()).sum(-1)


@dataclass(frozen=True)
class Order:
    """A rule: `blind` ranks a turn before the pass, `judge` ranks the proposals after it (exactly one is set)."""

    blind: Callable[[Turn], torch.Tensor] | None = None  # turn -> priority_RL
    judge: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None  # logp_NV, tokens_N -> priority_N
    quota: Callable[[Turn], torch.Tensor] | None = None  # its own quota; None: the caller's choice


ORDERS: dict[str, Order] = {
    "ancestral": Order(blind=by_key, quota=ancestral_quota),
    "confidence": Order(judge=by_probability),
    "margin": Order(judge=by_margin),
    "entropy": Order(judge=by_entropy),
    "random": Order(blind=by_key),
    "left-to-right": Order(blind=by_position),
}


def top(priority_RL: torch.Tensor, turn: Turn, tie: float = 0.0) -> torch.Tensor:
    """The `count_R` candidates of highest priority in each row, as a bool mask; ties go to the left.

    tie: priorities closer than this share of the last one taken count as equal. A network sees the same at every
    position of an empty canvas, and without this the rounding of a batch would choose among them.
    """
    open_RL = priority_RL.masked_fill(~turn.candidates_RL, -torch.inf)
    last_R1 = open_RL.sort(dim=1, descending=True).values.gather(1, turn.count_R[:, None].clamp(min=1) - 1)
    margin_R1 = tie * last_R1.abs()
    sure_RL = open_RL > last_R1 + margin_R1
    equal_RL = turn.candidates_RL & ~sure_RL & (open_RL >= last_R1 - margin_R1)
    places_R1 = turn.count_R[:, None] - sure_RL.sum(1, keepdim=True)
    return sure_RL | (equal_RL & (equal_RL.cumsum(1) <= places_R1))


# ------------------------------------------------------------------ the clock


class Clock:
    """Walks every row to its next step that commits something; steps that commit nothing cost no pass.

    With blocks (semi-autoregressive decoding) a row's new positions are cut, left to right, into blocks of `block`,
    and its steps are divided over them, the first blocks getting the remainder.
    """

    def __init__(
        self,
        canvas: Canvas,
        keys_BL: torch.Tensor,
        quota: Callable[[Turn], torch.Tensor],
        steps_B: torch.Tensor,
        block: int | None,
    ) -> None:
        self.canvas, self.keys_BL, self.quota = canvas, keys_BL, quota
        new_B = canvas.new_BL.sum(1)
        size = block or max(1, int(new_B.max()))
        self.block_BL = canvas.rank_BL // size
        blocks_B = -(-new_B // size)
        self.base_B, self.extra_B = steps_B // blocks_B, steps_B % blocks_B
        self.at_block_B = torch.zeros_like(steps_B)
        self.at_step_B = torch.zeros_like(steps_B)

    def next(self) -> Turn | None:
        """The next turn, or None when nothing is open."""
        while (rows_R := self.canvas.open_BL.any(1).nonzero().flatten()).numel():
            here_RL = self.block_BL[rows_R] == self.at_block_B[rows_R, None]
            candidates_RL = self.canvas.open_BL[rows_R] & here_RL
            full_R = ~candidates_RL.any(1)
            if full_R.any():
                self.at_block_B[rows_R[full_R]] += 1
                self.at_step_B[rows_R[full_R]] = 0
                continue
            block_R, step_R = self.at_block_B[rows_R], self.at_step_B[rows_R]
            base_R, extra_R = self.base_B[rows_R], self.extra_B[rows_R]
            turn = Turn(
                rows_R=rows_R,
                candidates_RL=candidates_RL,
                keys_RL=self.keys_BL[rows_R],
                step_R=step_R,
                steps_R=base_R + (block_R < extra_R),
                global_step_R=block_R * base_R + torch.minimum(block_R, extra_R) + step_R,
                count_R=candidates_RL.sum(1),
            )
            last_R = step_R == turn.steps_R - 1
            turn.count_R = torch.where(last_R, turn.count_R, self.quota(turn))
            idle_R = turn.count_R == 0
            if not idle_R.any():
                self.at_step_B[rows_R] += 1
                return turn
            self.at_step_B[rows_R[idle_R]] += 1
        return None
