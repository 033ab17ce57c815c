"""The loop that fills a canvas with a masked diffusion model: score, propose, select, revise.

    fill(network, canvas, requests, guidances, limits, endings, watch)

Rows with the same rules form a `Group`, which says what a pass must ask for each of its rows and settles what comes
back; one pass serves the rows of all groups. Steps in which a row neither commits nor judges cost it no pass.

Shapes: B rows, L positions, R rows in a pass, N positions asked for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from decoding.before.group import Answers, Group, Plan
from decoding.before.limits.endings import Endings
from decoding.before.limits.limits import Limits
from decoding.before.options import Request
from decoding.before.passes.propose import Draws, propose
from decoding.before.passes.score import Scorer, Scores
from decoding.before.rules.guidance import Guidance
from decoding.before.state.canvas import Canvas
from decoding.before.state.clock import Clock
from decoding.before.state.turn import TOKENS
from unmask.model.transformer import Transformer

Watch = Callable[[Canvas], object]


@torch.inference_mode()
def fill(
    network: Transformer,
    canvas: Canvas,
    requests: Sequence[Request],
    guidances: Sequence[Guidance],
    limits: Limits,
    endings: Endings,
    watch: Watch | None = None,
) -> None:
    """Fills every open position of the canvas in place; one request, and guidance, per row."""
    groups = make_groups(canvas, requests, limits, endings)
    scorer = Scorer(network, canvas, guidances, [request.cache for request in requests])
    asking = Asking(canvas, requests, limits)
    while plans := [plan for group in groups if (plan := group.next()) is not None]:
        rows_R = torch.cat([plan.rows_R for plan in plans])
        asked_RL = torch.cat([plan.asked_RL for plan in plans])
        w_R = [guidances[row].at(t) for row, t in zip(rows_R.tolist(), noise_levels(plans), strict=True)]
        block_RL = torch.cat([plan.turn.block_RL for plan in plans])
        block_R = torch.cat([plan.turn.block_R for plan in plans])
        scores = scorer(rows_R, asked_RL, block_RL, block_R, w_R)
        answers = asking(scores, plans, rows_R, asked_RL)
        for plan, part in zip(plans, answers.split([len(plan.rows_R) for plan in plans]), strict=True):
            plan.group.settle(plan, part)
        endings.close(rows_R)
        if watch is not None:
            watch(canvas)


def make_groups(canvas: Canvas, requests: Sequence[Request], limits: Limits, endings: Endings) -> list[Group]:
    """Rows that share order, quota and revision, with their parameters; steps and blocks may differ."""
    rows: dict[tuple[object, ...], list[int]] = {}
    for row, request in enumerate(requests):
        rows.setdefault(request.rules, []).append(row)
    steps_B = torch.tensor([request.steps or 0 for request in requests])
    block_B = torch.tensor([request.block or 0 for request in requests])
    noise_B = torch.tensor([request.order_noise for request in requests], dtype=torch.float64)
    return [
        Group(canvas, requests[of[0]], Clock(canvas, torch.tensor(of), steps_B, block_B), noise_B, limits, endings)
        for of in rows.values()
    ]


def noise_levels(plans: Sequence[Plan]) -> list[float]:
    return [t for plan in plans for t in plan.turn.t_R.tolist()]


class Asking:
    """From scores to `Answers`: tokens, and the statistics that the rules of a pass read."""

    def __init__(self, canvas: Canvas, requests: Sequence[Request], limits: Limits) -> None:
        self.canvas, self.limits = canvas, limits
        self.temperature_B = torch.tensor([request.temperature for request in requests], dtype=torch.float64)
        self.draws = bool((self.temperature_B > 0).any())
        self.top_p_B = optional([request.top_p for request in requests], 1.0, torch.float64)
        self.top_k_B = optional([request.top_k for request in requests], 0, torch.int64)

    def __call__(self, scores: Scores, plans: Sequence[Plan], rows_R: torch.Tensor, asked_RL: torch.Tensor) -> Answers:
        at_N, position_N = asked_RL.nonzero(as_tuple=True)
        row_N = rows_R[at_N]
        want = frozenset().union(*(plan.group.want for plan in plans))
        temperature_N, uniforms_N = self.temperature_B[row_N], torch.zeros(len(row_N), dtype=torch.float64)
        if self.draws:
            uniforms_N = torch.cat([plan.turn.uniforms(TOKENS) for plan in plans])[at_N, position_N]
        committed_N = None
        if any(plan.group.judges_committed for plan in plans):
            # What stands there already is compared with the likeliest, not with a draw.
            committed_N = ~self.canvas.open_BL[row_N, position_N]
            temperature_N = temperature_N.masked_fill(committed_N, 0.0)
        allowed = self.limits.allowed(rows_R, asked_RL) if self.limits.any else None
        columns: dict[str, list[torch.Tensor]] = {}
        history: list[torch.Tensor] = []
        for part, logits_nV in scores.chunks():
            if allowed is not None:
                logits_nV = allowed.apply(part, logits_nV)
            draws = Draws(
                temperature_N[part],
                uniforms_N[part],
                None if self.top_p_B is None else self.top_p_B[row_N[part]],
                None if self.top_k_B is None else self.top_k_B[row_N[part]],
            )
            given_n = None if committed_N is None else self.given(row_N[part], position_N[part], committed_N[part])
            found = propose(logits_nV, draws, want, given_n)
            for name in ("tokens", "probability", "best", "entropy", "margin", "given"):
                value = getattr(found, f"{name}_N")
                if value is not None:
                    columns.setdefault(name, []).append(value)
            if found.logp_NV is not None:
                history.append(found.logp_NV)
        spread = {name: scatter(asked_RL, torch.cat(pieces)) for name, pieces in columns.items()}
        logp_NV = torch.cat(history) if history else None
        return Answers(**spread, at_N=at_N, position_N=position_N, logp_NV=logp_NV)

    def given(self, row_n: torch.Tensor, position_n: torch.Tensor, committed_n: torch.Tensor) -> torch.Tensor:
        """The tokens that stand at these positions; 0 where none does."""
        return torch.where(committed_n, self.canvas.tokens_BL[row_n, position_n], 0)


def scatter(asked_RL: torch.Tensor, value_N: torch.Tensor) -> torch.Tensor:
    """[R, L] with the values where they were asked for, zeros elsewhere."""
    spread_RL = value_N.new_zeros(asked_RL.shape)
    spread_RL[asked_RL] = value_N
    return spread_RL


def optional(values: Sequence[float | int | None], off: float | int, dtype: torch.dtype) -> torch.Tensor | None:
    """A value per row with `off` for None; None if all are."""
    if all(value is None for value in values):
        return None
    return torch.tensor([off if value is None else value for value in values], dtype=dtype)
