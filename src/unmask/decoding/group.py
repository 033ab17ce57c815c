"""Rows with the same rules: what the next pass must ask for them, and what becomes of its answers.

    group = Group(rules, clock, limits, endings); group.join(rows_R, order_noise=[0.5])
    plan = group.next()               # None when all rows are done
    group.settle(plan, answers)

A rule is asked here and nowhere else: eligibility, order, quota and revision each by its hooks (see `rules`).

Shapes: R rows in a turn, L positions, K ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.options import Request
from unmask.decoding.rules.answers import Answers, Ranked
from unmask.decoding.rules.orders import TIE, ranking, top
from unmask.decoding.rules.revise import Before, Step
from unmask.decoding.rules.statistics import ALWAYS
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.turn import PRIORITIES, Turn


@dataclass
class Plan:
    """What a group's rows do in the next pass."""

    group: Group
    turn: Turn
    asked_RL: torch.Tensor
    before: Before
    chosen_RL: torch.Tensor | None = None  # known before the pass
    count_R: torch.Tensor | None = None  # how many, where the answers say which; None: the quota reads them

    @property
    def rows_R(self) -> torch.Tensor:
        return self.turn.rows_R


class Group:
    """Rows, and the rules they share. What it remembers of them are columns that all groups have in common."""

    def __init__(self, request: Request, clock: Clock, limits: Limits, endings: Endings) -> None:
        self.canvas, self.clock, self.limits, self.endings = clock.canvas, clock, limits, endings
        self.rows_G = torch.empty(0, dtype=torch.int64)
        self.running_G, self.moves = self.rows_G, -1  # those of them that run, as of so many moves of the clock
        self.order, self.eligible = request.order.of, request.eligible.of
        self.quota = None if request.quota is None else request.quota.of
        self.revise = None if request.revise is None else request.revise.of
        self.adaptive = request.adaptive
        self.blind = not self.order.reads
        self.judges = self.revise is not None and self.revise.judges
        self.noise_B = self.canvas.table.rows("order noise", torch.float64)
        self.noisy = False
        rules = (self.order, self.quota, self.revise, self.eligible)
        self.reads = frozenset(name for rule in rules if rule is not None for name in rule.reads) - set(ALWAYS)

    def join(self, rows_R: torch.Tensor, order_noise: Sequence[float]) -> None:
        """More rows; they take their turns in the order of their slots."""
        self.rows_G = torch.cat([self.rows_G, rows_R]).sort().values
        self.moves = -1
        self.noise_B[rows_R] = torch.tensor(order_noise, dtype=torch.float64)
        self.noisy = bool((self.noise_B[self.rows_G] > 0).any())

    def leave(self, rows_R: torch.Tensor) -> None:
        self.rows_G = self.rows_G[~torch.isin(self.rows_G, rows_R)]
        self.moves = -1

    # -------------------------------------------------------------- before the pass

    def next(self, among_B: torch.Tensor | None = None) -> Plan | None:
        """The next pass of every row, or of those among some; steps that need none are taken on the way. None when all
        these rows are done."""
        if self.moves != self.clock.moves:
            self.running_G, self.moves = self.rows_G[self.clock.is_running(self.rows_G)], self.clock.moves
        waiting_R = self.running_G if among_B is None else self.running_G[among_B[self.running_G]]
        ready: list[torch.Tensor] = []
        while len(waiting_R):
            turn = self.clock.turn(waiting_R)
            done_R = self.done(turn)
            if done_R.any():
                self.leave_block(waiting_R[done_R])
                waiting_R = waiting_R[self.clock.is_running(waiting_R)]
                continue
            plan, needed_R = self.plan(turn)
            if needed_R.all() and not ready:
                return plan
            ready.append(waiting_R[needed_R])
            idle_R = ~needed_R
            waiting_R = waiting_R[idle_R]
            if plan.before.reopen_RL is not None:
                self.canvas.remask(waiting_R, plan.before.reopen_RL[idle_R], turn.global_step_R[idle_R])
            self.clock.advance(waiting_R)
        rows_R = torch.cat(ready).sort().values if ready else waiting_R
        return self.plan(self.clock.turn(rows_R))[0] if len(rows_R) else None

    def done(self, turn: Turn) -> torch.Tensor:
        """Bool [R]: rows that are done with their block."""
        return turn.left_R == 0 if self.revise is None else self.revise.done(turn)

    def finish(self, rows_R: torch.Tensor) -> None:
        """After a pass: of its rows with nothing open any more, those that are done with their last block end here, and
        not at a turn that does not come."""
        while len(rows_R):
            rows_R = rows_R[self.done(self.clock.turn(rows_R))]
            self.leave_block(rows_R)
            rows_R = rows_R[self.clock.is_running(rows_R)]

    def leave_block(self, rows_R: torch.Tensor) -> None:
        if self.revise is not None:  # until now what was written could have been taken back
            self.revise.leave(self.canvas, rows_R)
            self.endings.close(rows_R, settled=True)
        self.clock.next_block(rows_R)

    def plan(self, turn: Turn) -> tuple[Plan, torch.Tensor]:
        """What to ask, and which rows need a pass for it."""
        before = Before() if self.revise is None else self.revise.before(turn)
        turn.share_R = before.share_R
        if self.eligible.narrows:
            turn.eligible_RL = torch.where(turn.last_R[:, None], turn.open_RL, self.eligible.within(turn))
        plan = Plan(self, turn, turn.eligible_RL, before)
        if self.order.own_quota:
            plan.chosen_RL = self.order.takes(turn)
            needed_R = plan.chosen_RL.any(1)
        elif not self.adaptive:
            assert self.quota is not None
            plan.count_R = torch.where(turn.last_R, turn.left_R, self.quota.count(turn))
            needed_R = plan.count_R > 0
            if self.blind:
                plan.chosen_RL = top(self.order.priority(turn, None), turn.eligible_RL, plan.count_R)
        else:
            needed_R = turn.left_R > 0
        if plan.chosen_RL is not None:
            plan.asked_RL = plan.chosen_RL
        if before.asks_RL is not None:
            plan.asked_RL = plan.asked_RL | before.asks_RL
        return plan, needed_R if before.needs_R is None else needed_R | before.needs_R

    def show(self, plan: Plan) -> None:
        """Right before the pass: what open positions show in it, where a revision says so."""
        if plan.before.shows_RL is not None:
            self.canvas.show(plan.rows_R, plan.turn.open_RL, plan.before.shows_RL)

    # -------------------------------------------------------------- after it

    def settle(self, plan: Plan, answers: Answers) -> None:
        """Selects, writes, revises, and takes the step."""
        turn, rows_R = plan.turn, plan.rows_R
        step = Step(turn, self.order, answers, plan.count_R, plan.before.reopen_RL, self.select)
        if plan.chosen_RL is not None:
            step.chosen_RL = plan.chosen_RL
        if self.noisy:
            gumbel_RL = -(-turn.uniforms(PRIORITIES).clamp(min=1e-300).log()).log()
            step.noise_RL = (self.noise_B[rows_R] * turn.t_R)[:, None] * gumbel_RL
        if self.revise is not None:
            self.revise.after(step)
        chosen_RL = step.chosen_RL
        if step.reopen_RL is not None:
            self.canvas.remask(rows_R, step.reopen_RL, turn.global_step_R)
        if self.limits.any:
            chosen_RL = self.limits.admit(rows_R, chosen_RL, answers["tokens"], step.priority_RL)
        if step.rewrite_RL is not None:
            chosen_RL = chosen_RL | step.rewrite_RL
        self.canvas.commit(rows_R, chosen_RL, answers["tokens"], answers["probability"], turn.global_step_R)
        self.clock.advance(rows_R)

    def select(self, step: Step) -> torch.Tensor:
        """What the quota takes of the order's ranking."""
        if step.count_R is not None:
            return top(step.priority_RL, step.turn.eligible_RL, step.count_R, TIE)
        return self.admit(step)

    def admit(self, step: Step) -> torch.Tensor:
        """What an adaptive quota takes: at least one, and no fewer than the steps left require."""
        assert self.quota is not None
        turn = step.turn
        rank_RK = ranking(step.priority_RL, turn.eligible_RL, TIE)
        ranked = Ranked(step.answers, rank_RK, turn.eligible_RL)
        least_R = torch.where(turn.steps_R > 0, -(-turn.left_R // (turn.steps_R - turn.step_R).clamp(min=1)), 1)
        taken_RK = self.quota.admit(turn, ranked) & ranked.open_RK
        taken_RK = (taken_RK | (torch.arange(rank_RK.shape[1]) < missing(least_R, taken_RK))) & ranked.open_RK
        return torch.zeros_like(turn.open_RL).scatter_(1, rank_RK, taken_RK)


def missing(least_R: torch.Tensor, taken_RK: torch.Tensor) -> torch.Tensor:
    """How many of the first ranks [R, 1] to take besides, so that a row takes `least_R` at least."""
    # Taking the first k ranks adds those of them not taken already.
    free_RK = (~taken_RK).cumsum(1)
    lacking_R1 = (least_R - taken_RK.sum(1)).clamp(min=0)[:, None]
    return ((free_RK < lacking_R1).sum(1, keepdim=True) + 1) * (lacking_R1 > 0)
