"""The loop that fills rows with a masked diffusion model: score, propose, select, revise.

    loop = Loop(model, Budget(slots=16, width=512)); loop = Loop.for_rows(model, rows)
    loop.join(rows)
    while loop.running:
        loop.step()

Rows with the same rules form a `Group`, which says what a pass must ask for each of its rows and settles what comes
back; one pass serves the rows of all groups. Steps in which a row neither commits nor judges cost it no pass. How rows
come and go: see `state/rows.py`.

Shapes: B rows, L positions, R rows in a pass, N positions asked for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unmask.decoding.group import Group, Plan
from unmask.decoding.limits.limits import Allowed, Limits
from unmask.decoding.limits.stage import Stage
from unmask.decoding.passes.crossing import Parcel
from unmask.decoding.passes.logits import Scores, pieces
from unmask.decoding.passes.propose import Draws, brought, drawn
from unmask.decoding.passes.score import Scorer, place_bytes
from unmask.decoding.prepare import Prepared
from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.law import Law
from unmask.decoding.rules.statistics import ALWAYS, Statistic, Statistics
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.rows import Budget, GoneError, Rows, Seat
from unmask.decoding.state.table import FullError, span
from unmask.decoding.state.turn import TOKENS
from unmask.model.folder import Model


class Loop(Rows[Prepared]):
    """What fills the rows that have joined it, a pass a step."""

    def __init__(self, model: Model, budget: Budget, stage: Stage | None = None) -> None:
        """stage: one that is as large as the budget, for its rows to be adopted."""
        self.stage = stage or Stage.of(model.config, model.eos_ids, budget.slots, budget.width)
        super().__init__(self.stage.canvas, budget)
        self.limits, self.endings = self.stage.limits, self.stage.endings
        self.scorer = Scorer(model.network, self.canvas, budget.cache_bytes, budget.width + budget.negative)
        self.statistics = Statistics(self.table, model.config.vocab_size, self.scorer.device)
        self.asking = Asking(self.canvas, self.limits, self.statistics)
        self.clock, self.moves = Clock(self.canvas), -1  # as of so many moves of the clock no row is at its end
        self.groups: dict[tuple[Any, ...], Group] = {}

    @classmethod
    def for_rows(cls, model: Model, rows: Sequence[Prepared], stage: Stage | None = None) -> Loop:
        """A loop that is just large enough for these. stage: theirs, where they are to be adopted."""
        width = max(row.positions for row in rows)
        negative = max(row.negative for row in rows)
        views = sum(row.caches for row in rows)
        cache = views * place_bytes(model.network, width + negative)
        return cls(model, Budget(len(rows), width, cache_bytes=cache, negative=negative), stage)

    def check(self, guests: Sequence[Prepared]) -> None:
        super().check(guests)
        longest = max((guest.negative for guest in guests), default=0)
        if longest > self.budget.negative:
            raise FullError(f"a negative prompt of {longest} tokens joins a table for {self.budget.negative}")
        self.scorer.check(sum(guest.caches for guest in guests))

    def enter(self, rows_R: torch.Tensor, guests: Sequence[Prepared]) -> None:
        """Rows that share order, quota, revision and eligibility, with their parameters, make a group; steps and blocks
        may differ. So may the noise on an order, but for none: ties among plain and noisy scores differ."""
        self.stage.put(rows_R, [(guest.stage, guest.slot) for guest in guests])
        requests = [guest.request for guest in guests]
        self.scorer.join(rows_R, [guest.guidance for guest in guests], [request.cache for request in requests])
        self.asking.join(rows_R, guests)
        steps_R = torch.tensor([request.steps or 0 for request in requests])
        block_R = torch.tensor([request.block or 0 for request in requests])
        self.clock.join(rows_R, steps_R, block_R)
        together: dict[tuple[Any, ...], list[int]] = {}
        for at, request in enumerate(requests):
            together.setdefault((request.rules, request.order_noise > 0), []).append(at)
        for key, each in together.items():
            if key not in self.groups:
                self.groups[key] = Group(requests[each[0]], self.clock, self.limits, self.endings)
            group = self.groups[key]
            group.join(rows_R[each], [requests[at].order_noise for at in each])
            self.statistics.join(rows_R[each], group.reads)

    def exit(self, rows_R: torch.Tensor) -> None:
        """Groups without rows go with them."""
        for key, group in list(self.groups.items()):
            group.leave(rows_R)
            if not len(group.rows_G):
                del self.groups[key]
        self.stage.refresh()
        self.asking.refresh()
        self.scorer.refresh()

    def splice(self, seat: Seat, start: int, delete: int = 0, insert: int = 0) -> None:
        """Between two steps: positions go, and open ones come in their place; what lies behind moves in every column.

        Cached keys and values, hidden states and what drift compares with are dropped. A trace tells places as they
        were at each event. Raises `ValueError` for a splice beyond the row, of what was given or within a pattern,
        `FullError` where there is no room, and `GoneError` for a row that is done.
        """
        (row,) = self.slots([seat]).tolist()
        if self.over_B[row]:
            raise GoneError(f"the row in slot {row} has ended; its positions stay")
        taken, most = int(self.positions_B[self.table.taken_B].sum()), self.budget.positions
        if most is not None and taken + insert - delete > most:
            raise FullError(f"{insert - delete} positions join {taken} that are taken, of {most}")
        self.limits.check_splice(row, start, delete)
        from_L = self.canvas.splice(row, start, delete, insert)
        self.positions_B[row] += insert - delete
        self.clock.splice(row, from_L)
        self.limits.splice(row, from_L)

    # -------------------------------------------------------------- a step

    def advance(self, seats: Sequence[Seat] | None) -> tuple[tuple[Seat, ...], tuple[Seat, ...]]:
        rows_R, among_B = self.going(seats), None
        if seats is not None:
            among_B = torch.zeros(self.table.slots, dtype=torch.bool)
            among_B[rows_R] = True
        plans = [plan for group in self.groups.values() if (plan := group.next(among_B)) is not None]
        took_R = self.run(plans) if plans else rows_R[:0]
        over_R = rows_R[:0]
        if self.moves != self.clock.moves:
            over_R = rows_R[~self.clock.is_running(rows_R)]
            if seats is None:
                self.moves = self.clock.moves
        if len(over_R):
            self.end(over_R)
        return tuple(self.seats(took_R)), tuple(self.seats(over_R))

    def run(self, plans: Sequence[Plan]) -> torch.Tensor:
        """A pass of the network; its rows."""
        for plan in plans:
            plan.group.show(plan)
        rows_R = joined([plan.rows_R for plan in plans])
        asked_RL = joined([plan.asked_RL for plan in plans])
        w_R = self.guidance_scales(plans, rows_R)
        block_RL = joined([plan.turn.block_RL for plan in plans])
        block_R = joined([plan.turn.block_R for plan in plans])
        parcel = Parcel()
        asked = self.asking.ask(plans, rows_R, asked_RL, parcel)
        answers = self.asking(self.scorer(rows_R, asked_RL, block_RL, block_R, w_R, parcel), asked)
        for plan, part in zip(plans, answers.split([len(plan.rows_R) for plan in plans]), strict=True):
            plan.group.settle(plan, part)
        self.endings.close(rows_R)
        for plan in plans:
            plan.group.finish(plan.rows_R[~self.canvas.open_BL[plan.rows_R].any(1)])
        self.statistics.end()
        return rows_R

    def guidance_scales(self, plans: Sequence[Plan], rows_R: torch.Tensor) -> list[float] | None:
        """w of each row at its noise level; None where no row is guided."""
        guidances = [self.scorer.guidances[row] for row in rows_R.tolist()]
        if not any(guidance.scale for guidance in guidances):
            return None
        levels = (t for plan in plans for t in plan.turn.t_R.tolist())
        return [guidance.at(t) for guidance, t in zip(guidances, levels, strict=True)]

    def undo(self, before: Any) -> None:
        super().undo(before)
        self.clock.moves += 1
        self.statistics.forget()


@dataclass
class Asked:
    """What a pass must tell; all that does not depend on its scores is worked out before, and has been sent."""

    asked_RL: torch.Tensor
    at_N: torch.Tensor  # which of the R rows
    row_N: torch.Tensor
    position_N: torch.Tensor
    statistics: dict[str, Statistic]
    draws: list[Draws]  # by the pieces in which there are logits
    allowed: Allowed | None
    given: list[torch.Tensor]  # the tokens [N] that stand there, where a rule asks; 0 where none does


class Asking:
    """From scores to `Answers`: tokens, and the statistics that the rules of a pass read."""

    def __init__(self, canvas: Canvas, limits: Limits, statistics: Statistics) -> None:
        self.canvas, self.limits, self.statistics = canvas, limits, statistics
        self.temperature_B = canvas.table.rows("temperature", torch.float64, fixed=True)
        self.top_p_B = canvas.table.rows("top-p", torch.float64, 1.0, fixed=True)  # 1: all
        self.top_k_B = canvas.table.rows("top-k", torch.int64, fixed=True)  # 0: all
        self.draws = self.filters_p = self.filters_k = False  # whether a row does

    def join(self, rows_R: torch.Tensor, guests: Sequence[Prepared]) -> None:
        requests = [guest.request for guest in guests]
        temperatures = [request.temperature for request in requests]
        here = span(rows_R)
        self.temperature_B[here] = torch.tensor(temperatures, dtype=torch.float64)
        tops = [1.0 if request.top_p is None else request.top_p for request in requests]
        self.top_p_B[here] = torch.tensor(tops, dtype=torch.float64)
        self.top_k_B[here] = torch.tensor([request.top_k or 0 for request in requests])
        self.refresh()

    def refresh(self) -> None:
        """Rows have joined or left."""
        here_B = self.canvas.table.taken_B
        self.draws = bool((self.temperature_B[here_B] > 0).any())
        self.filters_p, self.filters_k = bool((self.top_p_B[here_B] < 1).any()), bool((self.top_k_B[here_B] > 0).any())

    def ask(self, plans: Sequence[Plan], rows_R: torch.Tensor, asked_RL: torch.Tensor, parcel: Parcel) -> Asked:
        """Before the pass: what it draws tokens by, and what its statistics and limits need, goes with the parcel."""
        at_N, position_N = asked_RL.nonzero(as_tuple=True)
        row_N = rows_R[at_N]
        reads = frozenset().union(*(plan.group.reads for plan in plans))
        statistics = {name: self.statistics[name] for name in sorted(reads)}
        for statistic in statistics.values():
            statistic.begin(rows_R)
            parcel.put(*statistic.sends(row_N, position_N), to=statistic.take)
        temperature_N, given = self.temperature_B[row_N], list[torch.Tensor]()
        if any(plan.group.judges for plan in plans):
            # What stands there already is compared with the likeliest, not with a draw.
            committed_N = ~self.canvas.open_BL[row_N, position_N]
            temperature_N = temperature_N.masked_fill(committed_N, 0.0)
            tokens_N = torch.where(committed_N, self.canvas.tokens_BL[row_N, position_N], 0)
            parcel.put(tokens_N, to=given.extend)
        if self.draws:
            uniforms_N = joined([plan.turn.uniforms(TOKENS) for plan in plans])[asked_RL]
        else:
            uniforms_N = torch.zeros(len(row_N), dtype=torch.float64)
        draws = []
        for part in pieces(len(row_N), self.statistics.vocab_size):
            top_p_n = self.top_p_B[row_N[part]] if self.filters_p else None
            top_k_n = self.top_k_B[row_N[part]] if self.filters_k else None
            draws.append(each := Draws(temperature_N[part], uniforms_N[part], top_p_n, top_k_n))
            parcel.put(*each.needed.values(), to=each.take)
        allowed = self.limits.allowed(rows_R, asked_RL) if self.limits.any else None
        if allowed is not None:
            parcel.put(*allowed.masks, to=allowed.take)
        return Asked(asked_RL, at_N, row_N, position_N, statistics, draws, allowed, given)

    def __call__(self, scores: Scores, asked: Asked) -> Answers:
        statistics, found = list(asked.statistics.values()), []
        slopes = any(statistic.slopes for statistic in statistics)
        for draws, (part, logits_nV) in zip(asked.draws, scores.chunks(), strict=True):
            if asked.allowed is not None:
                logits_nV = asked.allowed.apply(part, logits_nV)
            given_n = asked.given[0][part] if asked.given else None
            law = Law(logits_nV, asked.row_N[part], asked.position_N[part], given_n, slopes, part.start)
            found.append(drawn(law, draws, [statistic.of(law) for statistic in statistics]))
        told = brought(found)
        columns = zip((*ALWAYS, *asked.statistics), (told.tokens_N, told.probability_N, *told.more), strict=True)
        return Answers.of(asked.asked_RL, dict(columns), (asked.at_N, asked.position_N))


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """One behind the other; one alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
