"""The loop that fills a canvas with a masked diffusion model: score, propose, select, revise.

    fill(network, canvas, requests, guidances, limits, endings, watch)

    loop = Loop(network, limits, endings); loop.join(rows_R, requests, guidances)
    while loop.step(): ...

Rows with the same rules form a `Group`, which says what a pass must ask for each of its rows and settles what comes
back; one pass serves the rows of all groups. Steps in which a row neither commits nor judges cost it no pass.

Shapes: B rows, L positions, R rows in a pass, N positions asked for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from unmask.decoding.group import Group, Plan
from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.options import Request
from unmask.decoding.passes.propose import Draws, propose
from unmask.decoding.passes.score import Scorer, Scores
from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.rules.law import Law
from unmask.decoding.rules.statistics import ALWAYS, Statistics
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.turn import TOKENS
from unmask.model.transformer import Transformer

Watch = Callable[[Canvas], object]


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
    loop = Loop(network, limits, endings)
    loop.join(canvas.rows, requests, guidances)
    with torch.inference_mode():
        while loop.step():
            if watch is not None:
                watch(canvas)


class Loop:
    """What fills the rows that have joined it, a pass a step."""

    def __init__(self, network: Transformer, limits: Limits, endings: Endings) -> None:
        self.canvas, self.limits, self.endings = limits.canvas, limits, endings
        self.scorer = Scorer(network, self.canvas)
        self.statistics = Statistics(self.canvas.table, network.config.vocab_size, self.scorer.device)
        self.asking = Asking(self.canvas, limits, self.statistics)
        self.clock = Clock(self.canvas)
        self.groups: dict[tuple[Any, ...], Group] = {}

    def join(self, rows_R: torch.Tensor, requests: Sequence[Request], guidances: Sequence[Guidance]) -> None:
        """Rows of the canvas that are to be filled. Those that share order, quota and revision, with their parameters,
        make a group; steps and blocks may differ."""
        self.scorer.join(rows_R, guidances, [request.cache for request in requests])
        self.asking.join(rows_R, requests)
        steps_R = torch.tensor([request.steps or 0 for request in requests])
        block_R = torch.tensor([request.block or 0 for request in requests])
        self.clock.join(rows_R, steps_R, block_R)
        for row, request in zip(rows_R.tolist(), requests, strict=True):
            if request.rules not in self.groups:
                self.groups[request.rules] = Group(request, self.clock, self.limits, self.endings)
            group = self.groups[request.rules]
            group.join(row, request.order_noise)
            self.statistics.join(torch.tensor([row]), group.reads)

    def leave(self, rows_R: torch.Tensor) -> None:
        """Rows go, finished or not, and their slots are free; groups without rows go with them."""
        self.canvas.table.leave(rows_R)
        for rules, group in list(self.groups.items()):
            group.leave(rows_R)
            if not len(group.rows_G):
                del self.groups[rules]

    def step(self) -> bool:
        """One pass of the network, for all rows that need one; False where none is left that does."""
        plans = [plan for group in self.groups.values() if (plan := group.next()) is not None]
        if not plans:
            return False
        for plan in plans:
            plan.group.show(plan)
        rows_R = torch.cat([plan.rows_R for plan in plans])
        asked_RL = torch.cat([plan.asked_RL for plan in plans])
        guidances = self.scorer.guidances
        w_R = [guidances[row].at(t) for row, t in zip(rows_R.tolist(), noise_levels(plans), strict=True)]
        block_RL = torch.cat([plan.turn.block_RL for plan in plans])
        block_R = torch.cat([plan.turn.block_R for plan in plans])
        scores = self.scorer(rows_R, asked_RL, block_RL, block_R, w_R)
        answers = self.asking(scores, plans, rows_R, asked_RL)
        for plan, part in zip(plans, answers.split([len(plan.rows_R) for plan in plans]), strict=True):
            plan.group.settle(plan, part)
        self.endings.close(rows_R)
        return True


def noise_levels(plans: Sequence[Plan]) -> list[float]:
    return [t for plan in plans for t in plan.turn.t_R.tolist()]


class Asking:
    """From scores to `Answers`: tokens, and the statistics that the rules of a pass read."""

    def __init__(self, canvas: Canvas, limits: Limits, statistics: Statistics) -> None:
        self.canvas, self.limits, self.statistics = canvas, limits, statistics
        self.temperature_B = canvas.table.rows("temperature", torch.float64)
        self.top_p_B = canvas.table.rows("top-p", torch.float64, 1.0)  # 1: all
        self.top_k_B = canvas.table.rows("top-k", torch.int64)  # 0: all
        self.draws = self.filters_p = self.filters_k = False  # whether a row does

    def join(self, rows_R: torch.Tensor, requests: Sequence[Request]) -> None:
        temperatures = [request.temperature for request in requests]
        self.temperature_B[rows_R] = torch.tensor(temperatures, dtype=torch.float64)
        tops = [1.0 if request.top_p is None else request.top_p for request in requests]
        self.top_p_B[rows_R] = torch.tensor(tops, dtype=torch.float64)
        self.top_k_B[rows_R] = torch.tensor([request.top_k or 0 for request in requests])
        self.draws = bool((self.temperature_B > 0).any())
        self.filters_p, self.filters_k = bool((self.top_p_B < 1).any()), bool((self.top_k_B > 0).any())

    def __call__(self, scores: Scores, plans: Sequence[Plan], rows_R: torch.Tensor, asked_RL: torch.Tensor) -> Answers:
        at_N, position_N = asked_RL.nonzero(as_tuple=True)
        row_N = rows_R[at_N]
        reads = frozenset().union(*(plan.group.reads for plan in plans))
        statistics = {name: self.statistics[name] for name in sorted(reads)}
        for statistic in statistics.values():
            statistic.begin(rows_R)
        slopes = any(statistic.slopes for statistic in statistics.values())
        temperature_N, uniforms_N = self.temperature_B[row_N], torch.zeros(len(row_N), dtype=torch.float64)
        if self.draws:
            uniforms_N = torch.cat([plan.turn.uniforms(TOKENS) for plan in plans])[at_N, position_N]
        committed_N = None
        if any(plan.group.judges for plan in plans):
            # What stands there already is compared with the likeliest, not with a draw.
            committed_N = ~self.canvas.open_BL[row_N, position_N]
            temperature_N = temperature_N.masked_fill(committed_N, 0.0)
        allowed = self.limits.allowed(rows_R, asked_RL) if self.limits.any else None
        columns: dict[str, list[torch.Tensor]] = {name: [] for name in (*ALWAYS, *statistics)}
        for part, logits_nV in scores.chunks():
            if allowed is not None:
                logits_nV = allowed.apply(part, logits_nV)
            draws = Draws(
                temperature_N[part],
                uniforms_N[part],
                self.top_p_B[row_N[part]] if self.filters_p else None,
                self.top_k_B[row_N[part]] if self.filters_k else None,
            )
            given_n = None if committed_N is None else self.given(row_N[part], position_N[part], committed_N[part])
            law = Law(logits_nV, row_N[part], position_N[part], given_n, slopes)
            found = propose(logits_nV, draws, law)
            columns["tokens"].append(found.tokens_N)
            columns["probability"].append(found.probability_N)
            for name, statistic in statistics.items():
                columns[name].append(statistic.of(law).cpu())
        return Answers.of(asked_RL, {name: torch.cat(pieces) for name, pieces in columns.items()})

    def given(self, row_n: torch.Tensor, position_n: torch.Tensor, committed_n: torch.Tensor) -> torch.Tensor:
        """The tokens that stand at these positions; 0 where none does."""
        return torch.where(committed_n, self.canvas.tokens_BL[row_n, position_n], 0)
