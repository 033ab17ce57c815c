"""Rows with the same rules: what the next pass must ask for them, and what becomes of its answers.

    plan = group.next()               # None when all rows are done
    group.settle(plan, answers)

Shapes: R rows in a turn, L positions, K ranks, N positions asked for in the pass, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.options import Request
from unmask.decoding.passes.history import History
from unmask.decoding.rules.orders import TIE, ranking, top
from unmask.decoding.rules.quotas import Ranked
from unmask.decoding.rules.revise import remasking
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.turn import PRIORITIES, REMASKING, Turn


@dataclass
class Plan:
    """What a group's rows do in the next pass."""

    group: Group
    turn: Turn
    asked_RL: torch.Tensor
    chosen_RL: torch.Tensor | None = None  # known before the pass
    count_R: torch.Tensor | None = None  # how many, where the answers say which; None: the quota reads them
    remask_RL: torch.Tensor | None = None

    @property
    def rows_R(self) -> torch.Tensor:
        return self.turn.rows_R


@dataclass
class Answers:
    """Per row and position; zeros where nothing was asked, None where no rule reads it."""

    tokens: torch.Tensor
    probability: torch.Tensor  # float64, at temperature 1
    best: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    margin: torch.Tensor | None = None
    given: torch.Tensor | None = None  # of the token that stands there
    at_N: torch.Tensor | None = None  # row and position of `logp_NV`
    position_N: torch.Tensor | None = None
    logp_NV: torch.Tensor | None = None

    def split(self, sizes: Sequence[int]) -> list[Answers]:
        """The parts of consecutive rows."""
        names = [name for name in ("tokens", "probability", "best", "entropy", "margin", "given") if self.get(name)]
        pieces = {name: getattr(self, name).split(list(sizes)) for name in names}
        parts, start = [], 0
        for number, size in enumerate(sizes):
            part = Answers(**{name: pieces[name][number] for name in names})
            if self.logp_NV is not None and self.at_N is not None and self.position_N is not None:
                here = ((self.at_N >= start) & (self.at_N < start + size)).nonzero().flatten()
                part.at_N, part.position_N = self.at_N[here] - start, self.position_N[here]
                part.logp_NV = self.logp_NV[here] if len(sizes) > 1 else self.logp_NV
            parts.append(part)
            start += size
        return parts

    def get(self, name: str) -> bool:
        return getattr(self, name) is not None


class Group:
    """Rows, and the rules they share. What it remembers of them are columns that all groups have in common."""

    def __init__(self, request: Request, clock: Clock, limits: Limits, endings: Endings, history: History) -> None:
        self.canvas, self.clock, self.limits, self.endings = clock.canvas, clock, limits, endings
        self.history = history
        self.rows_G = torch.empty(0, dtype=torch.int64)
        self.order, self.quota, self.revise = request.order, request.quota, request.revise
        self.adaptive = request.adaptive
        self.remasks = self.revise is not None and self.revise.of.sigma is not None
        self.reranks = self.revise is not None and self.revise.of.rerank
        self.edits = self.revise is not None and self.revise.of.edit
        self.judges_committed = self.reranks or self.edits
        table = self.canvas.table
        self.noise_B = table.rows("order noise", torch.float64)
        self.noisy = False
        self.edits_B = table.rows("edits", torch.int64)  # passes that only edit, in this block
        self.quiet_B = table.rows("quiet", torch.bool)  # the last of them changed nothing
        self.remembers = self.quota is not None and self.quota.of.history
        self.want = self.statistics()

    def join(self, row: int, request: Request) -> None:
        """One more row; they take their turns in the order of their slots."""
        self.rows_G = torch.cat([self.rows_G, torch.tensor([row])]).sort().values
        self.noise_B[row] = request.order_noise
        self.noisy = bool((self.noise_B[self.rows_G] > 0).any())
        if self.remembers:
            self.history.read(torch.tensor([row]))

    def leave(self, rows_R: torch.Tensor) -> None:
        self.rows_G = self.rows_G[~torch.isin(self.rows_G, rows_R)]

    def statistics(self) -> frozenset[str]:
        """What the rules read beside tokens and their probabilities."""
        want = {self.order.of.judge} - {None, "probability"}
        if self.adaptive and self.quota is not None:
            want |= {"best"} | ({"entropy"} if self.quota.of.entropy else set())
            want |= {"logp"} if self.quota.of.history else set()
        return frozenset(name for name in want if name is not None)

    # -------------------------------------------------------------- before the pass

    def next(self) -> Plan | None:
        """The next pass of every row; steps that need none are taken on the way. None when all rows are done."""
        waiting_R, ready = self.rows_G[self.clock.is_running(self.rows_G)], list[torch.Tensor]()
        while len(waiting_R):
            turn = self.clock.turn(waiting_R)
            done_R = self.is_done(turn)
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
            if plan.remask_RL is not None:
                self.canvas.remask(waiting_R, plan.remask_RL[idle_R], turn.global_step_R[idle_R])
            self.clock.advance(waiting_R)
        rows_R = torch.cat(ready).sort().values if ready else waiting_R
        return self.plan(self.clock.turn(rows_R))[0] if len(rows_R) else None

    def is_done(self, turn: Turn) -> torch.Tensor:
        """Rows with nothing left to do in their block."""
        full_R = turn.left_R == 0
        if self.remasks:
            return full_R & ((turn.step_R >= turn.steps_R) | self.endings.has_ended(turn.rows_R))
        if self.edits and self.revise is not None:
            passes = int(self.revise.values["passes"])
            none_R = ~self.revisable(turn).any(1)
            return full_R & (none_R | self.quiet_B[turn.rows_R] | (self.edits_B[turn.rows_R] >= passes))
        return full_R

    def leave_block(self, rows_R: torch.Tensor) -> None:
        self.edits_B[rows_R], self.quiet_B[rows_R] = 0, False
        if self.revise is not None:  # until now what was written could have been taken back
            self.endings.close(rows_R, settled=True)
        self.clock.next_block(rows_R)

    def plan(self, turn: Turn) -> tuple[Plan, torch.Tensor]:
        """What to ask, and which rows need a pass for it."""
        plan = Plan(self, turn, asked_RL=turn.open_RL)
        if self.remasks and self.revise is not None:
            found = remasking(turn, self.revise.of, self.revise.values)
            turn.share_R = found.share_R
            taken_RL = turn.committed_RL & (turn.uniforms(REMASKING) < found.sigma_RL)
            plan.remask_RL = taken_RL & ~turn.last_R[:, None]
        if self.order.of.unmasks is not None:
            plan.chosen_RL = self.order.of.unmasks(turn)
            needed_R = plan.chosen_RL.any(1)
        elif not self.adaptive:
            plan.count_R = self.count(turn)
            needed_R = plan.count_R > 0
            if self.order.of.blind is not None:
                plan.chosen_RL = top(self.order.of.blind(turn), turn.open_RL, plan.count_R)
        else:
            needed_R = turn.left_R > 0
        if plan.chosen_RL is not None:
            plan.asked_RL = plan.chosen_RL
        if self.judges_committed:
            plan.asked_RL = plan.asked_RL | self.revisable(turn)
            needed_R = needed_R | (turn.committed_RL.any(1) if self.reranks else turn.left_R == 0)
        return plan, needed_R

    def count(self, turn: Turn) -> torch.Tensor:
        """Of a fixed quota; all at the last step, and beyond it."""
        if self.order.of.one_by_one:
            return turn.left_R.clamp(max=1)
        assert self.quota is not None and self.quota.of.count is not None
        return torch.where(turn.last_R, turn.left_R, self.quota.of.count(turn))

    def revisable(self, turn: Turn) -> torch.Tensor:
        """Committed positions that the pass judges. A pattern's are left as they are."""
        committed_RL = turn.committed_RL
        return committed_RL & ~self.limits.spanned_BL[turn.rows_R] if self.edits else committed_RL

    # -------------------------------------------------------------- after it

    def settle(self, plan: Plan, answers: Answers) -> None:
        """Selects, writes, revises, and takes the step."""
        turn, rows_R = plan.turn, plan.rows_R
        if self.remembers and answers.logp_NV is not None:
            assert answers.at_N is not None and answers.position_N is not None and self.quota is not None
            bound_N = torch.full((len(answers.at_N),), self.quota.values["kl"], dtype=torch.float64)
            self.history.see(rows_R[answers.at_N], answers.position_N, answers.logp_NV, bound_N)
        priority_RL, remask_RL = self.priority(turn, answers), plan.remask_RL
        chosen_RL = plan.chosen_RL
        if self.reranks:
            chosen_RL, remask_RL = self.rerank(plan, answers, priority_RL)
        elif chosen_RL is None and plan.count_R is not None:
            chosen_RL = top(priority_RL, turn.open_RL, plan.count_R, TIE)
        elif chosen_RL is None:
            chosen_RL = self.admit(turn, priority_RL, answers)
        if remask_RL is not None:
            self.canvas.remask(rows_R, remask_RL, turn.global_step_R)
        if self.limits.any:
            chosen_RL = self.limits.admit(rows_R, chosen_RL, answers.tokens, priority_RL)
        if self.edits:
            chosen_RL = chosen_RL | self.edit(turn, answers)
        self.canvas.commit(rows_R, chosen_RL, answers.tokens, answers.probability, turn.global_step_R)
        self.clock.advance(rows_R)

    def priority(self, turn: Turn, answers: Answers) -> torch.Tensor:
        """Highest first."""
        if self.order.of.blind is not None:
            return self.order.of.blind(turn)
        statistic_RL = getattr(answers, self.order.of.judge or "probability")
        if not self.noisy:
            return self.order.of.sign * statistic_RL
        gumbel_RL = -(-turn.uniforms(PRIORITIES).clamp(min=1e-300).log()).log()
        scale_R = self.noise_B[turn.rows_R] * turn.t_R
        return self.order.of.score(statistic_RL) + scale_R[:, None] * gumbel_RL

    def admit(self, turn: Turn, priority_RL: torch.Tensor, answers: Answers) -> torch.Tensor:
        """What an adaptive quota takes: at least one, and no fewer than the steps left require."""
        assert self.quota is not None and self.quota.of.admit is not None and answers.best is not None
        rank_RK = ranking(priority_RL, turn.open_RL, TIE)
        ranked = Ranked(turn.open_RL.gather(1, rank_RK), answers.best.gather(1, rank_RK))
        if answers.entropy is not None:
            ranked.entropy_RK = answers.entropy.gather(1, rank_RK)
        if self.remembers:
            ranked.held_RK = self.history.held_BL[turn.rows_R].gather(1, rank_RK)
        least_R = torch.where(turn.steps_R > 0, -(-turn.left_R // (turn.steps_R - turn.step_R).clamp(min=1)), 1)
        taken_RK = self.quota.of.admit(ranked, self.quota.values) & ranked.open_RK
        taken_RK = (taken_RK | (torch.arange(rank_RK.shape[1]) < missing(least_R, taken_RK))) & ranked.open_RK
        return torch.zeros_like(turn.open_RL).scatter_(1, rank_RK, taken_RK)

    def rerank(self, plan: Plan, answers: Answers, priority_RL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """P2: keeps the best of committed and proposed tokens, as many as the quota wants written after the step."""
        assert self.revise is not None and plan.count_R is not None and answers.given is not None
        turn = plan.turn
        committed_RL = turn.committed_RL
        statistic_RL = getattr(answers, self.order.of.judge or "probability")
        score_RL = priority_RL if self.noisy else self.order.of.score(statistic_RL)
        standing_RL = answers.given if self.order.of.judge == "probability" else statistic_RL
        score_RL = torch.where(committed_RL, self.revise.values["eta"] * self.order.of.score(standing_RL), score_RL)
        among_RL = turn.open_RL | committed_RL
        kept_RL = top(score_RL, among_RL, committed_RL.sum(1) + plan.count_R, TIE)
        # At the last step all are kept, and nothing is taken back.
        return kept_RL & turn.open_RL, committed_RL & ~kept_RL

    def edit(self, turn: Turn, answers: Answers) -> torch.Tensor:
        """Committed tokens that give way to the likeliest one."""
        assert self.revise is not None
        rows_R = turn.rows_R
        other_RL = answers.tokens != self.canvas.tokens_BL[rows_R]
        edited_RL = self.revisable(turn) & other_RL & (answers.probability > self.revise.values["threshold"])
        only_R = turn.left_R == 0
        self.edits_B[rows_R[only_R]] += 1
        self.quiet_B[rows_R] = only_R & ~edited_RL.any(1)
        return edited_RL


def missing(least_R: torch.Tensor, taken_RK: torch.Tensor) -> torch.Tensor:
    """How many of the first ranks [R, 1] to take besides, so that a row takes `least_R` at least."""
    # Taking the first k ranks adds those of them not taken already.
    free_RK = (~taken_RK).cumsum(1)
    lacking_R1 = (least_R - taken_RK.sum(1)).clamp(min=0)[:, None]
    return ((free_RK < lacking_R1).sum(1, keepdim=True) + 1) * (lacking_R1 > 0)
