"""The loop that fills a canvas with a masked diffusion model: score, propose, select, revise.

    fill(network, canvas, Rules(order=ORDERS["confidence"], quota=QUOTAS["paper"], ...))

A pass: the clock names the rows that act and how many positions each commits; `score` runs the network; `propose`
draws a token wherever one may be needed; the order selects; the canvas commits. Draws are a function of
(seed, row, step, position), never of the rows beside: a row is the same alone, in any batch, and on any device.

Shapes: B rows, L positions, R rows in a turn, N positions asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from unmask.decoding.canvas import Canvas
from unmask.decoding.orders import TIE, Clock, Order, Turn, top
from unmask.decoding.propose import draw
from unmask.decoding.score import Scores, score
from unmask.diffusion.noise import uniforms
from unmask.model.transformer import Transformer

# Draw 0 of a row orders its positions; draw 1 + step chooses tokens.
KEY_DRAW, TOKEN_DRAW = 0, 1


@dataclass(frozen=True)
class Rules:
    """The replaceable parts of one call."""

    order: Order
    quota: Callable[[Turn], torch.Tensor]
    steps_B: torch.Tensor
    block: int | None = None
    guidance: float = 0.0
    temperature: float = 1.0
    stop_id: int | None = None  # a row ends once its text up to this token is settled
    limited_BL: torch.Tensor | None = None  # bool: where only `allowed_V` may be written
    allowed_V: torch.Tensor | None = None  # bool


@dataclass
class Proposal:
    """Per row and position; zeros where nothing was asked."""

    tokens_RL: torch.Tensor
    probability_RL: torch.Tensor
    priority_RL: torch.Tensor


@torch.inference_mode()
def fill(network: Transformer, canvas: Canvas, rules: Rules, watch: Callable[[Canvas], object] | None = None) -> None:
    """Fills every open position of the canvas in place."""
    every_row = torch.arange(len(canvas.tokens_BL))
    keys_BL = row_uniforms(canvas, every_row, torch.full_like(every_row, KEY_DRAW))
    clock = Clock(canvas, keys_BL, rules.quota, rules.steps_B, rules.block)
    while (turn := clock.next()) is not None:
        if rules.order.blind is not None:
            chosen_RL = asked_RL = top(rules.order.blind(turn), turn)
        else:
            asked_RL = turn.candidates_RL
        scores = score(network, canvas, turn.rows_R, asked_RL, rules.guidance)
        proposal = propose(scores, canvas, turn, asked_RL, rules)
        if rules.order.blind is None:
            chosen_RL = top(proposal.priority_RL, turn, TIE)
        canvas.commit(turn.rows_R, chosen_RL, proposal.tokens_RL, proposal.probability_RL, turn.global_step_R)
        if rules.stop_id is not None:
            canvas.close_ended(rules.stop_id)
        if watch is not None:
            watch(canvas)


def propose(scores: Scores, canvas: Canvas, turn: Turn, asked_RL: torch.Tensor, rules: Rules) -> Proposal:
    """A token for every position asked for, its probability, and its priority if the order judges proposals."""
    uniforms_N = None
    if rules.temperature > 0:
        uniforms_N = row_uniforms(canvas, turn.rows_R, TOKEN_DRAW + turn.global_step_R)[asked_RL]
    proposal = Proposal(
        tokens_RL=torch.zeros(asked_RL.shape, dtype=torch.int64),
        probability_RL=torch.zeros(asked_RL.shape, dtype=torch.float64),
        priority_RL=torch.zeros(asked_RL.shape, dtype=torch.float64),
    )
    limited_N = None if rules.limited_BL is None else rules.limited_BL[turn.rows_R][asked_RL]
    tokens, probabilities, priorities = [], [], []
    for part, logits_nV in scores.chunks():
        if limited_N is not None and rules.allowed_V is not None:
            denied_nV = limited_N[part, None] & ~rules.allowed_V
            logits_nV = logits_nV.masked_fill(denied_nV.to(logits_nV.device), -torch.inf)
        tokens_n, logp_nV = draw(logits_nV, rules.temperature, None if uniforms_N is None else uniforms_N[part])
        tokens.append(tokens_n.cpu())
        probabilities.append(logp_nV.gather(-1, tokens_n[:, None])[:, 0].exp().cpu())
        if rules.order.judge is not None:
            priorities.append(rules.order.judge(logp_nV, tokens_n).cpu())
    proposal.tokens_RL[asked_RL] = torch.cat(tokens)
    proposal.probability_RL[asked_RL] = torch.cat(probabilities)
    if priorities:
        proposal.priority_RL[asked_RL] = torch.cat(priorities)
    return proposal


def row_uniforms(canvas: Canvas, rows_R: torch.Tensor, draw_R: torch.Tensor) -> torch.Tensor:
    """A float64 uniform for every new position of the rows, by (seed, row, draw, rank); 0 at other positions."""
    filled_RL = torch.zeros((len(rows_R), canvas.tokens_BL.shape[1]), dtype=torch.float64)
    for at, (row, number) in enumerate(zip(rows_R.tolist(), draw_R.tolist(), strict=True)):
        new_L = canvas.new_BL[row]
        seed, k = canvas.seeds[row]
        filled_RL[at, new_L] = torch.from_numpy(uniforms(seed, k, int(new_L.sum()), number))
    return filled_RL
