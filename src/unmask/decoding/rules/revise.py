"""Taking back what was written: what a remasking or editing rule is. The rules: `remdm`, `p2`, `edit`.

    generate(model, prompts, order="ancestral", steps=128, revise="remdm-cap:0.008")
    generate(model, prompts, order="confidence", quota="threshold:0.7", revise="edit:0.9")

A revision is asked before a row's step (`before`: what is opened again, what the pass is asked about besides, how many
masks are unmasked), after the pass (`after`: it may change what is written, opened again or written anew), when nothing
is open any more (`done`: whether the block is), and when a block is left (`leave`).

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.orders import Order
from unmask.decoding.rules.registry import Registry, Rule
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.turn import Turn


@dataclass
class Before:
    """What a revision wants of a step before its pass; None: nothing."""

    share_R: torch.Tensor | None = None  # of the masks that the step unmasks, for rules that follow the noise level
    reopen_RL: torch.Tensor | None = None  # opened again once the pass has seen them, or without a pass
    asks_RL: torch.Tensor | None = None  # committed positions that the pass judges as well
    needs_R: torch.Tensor | None = None  # rows that need a pass whatever the quota says
    shows_RL: torch.Tensor | None = None  # tokens that open positions show in this pass, in place of the mask


class Step:
    """A turn and what its pass said; what comes of it, for a revision to change."""

    def __init__(
        self,
        turn: Turn,
        order: Order,
        answers: Answers,
        count_R: torch.Tensor | None,
        reopen_RL: torch.Tensor | None,
        select: Callable[[Step], torch.Tensor],
    ) -> None:
        self.turn, self.order, self.answers, self.select = turn, order, answers, select
        self.count_R = count_R  # how many positions a fixed quota writes
        self.reopen_RL = reopen_RL  # committed positions that are opened again
        self.rewrite_RL: torch.Tensor | None = None  # committed positions that take the token proposed there
        self.noise_RL: torch.Tensor | None = None  # on the order's scores; None: none

    @cached_property
    def score_RL(self) -> torch.Tensor:
        """The proposals' scores in nats, noise included."""
        score_RL = self.order.score(self.answers)
        return score_RL if self.noise_RL is None else score_RL + self.noise_RL

    @cached_property
    def priority_RL(self) -> torch.Tensor:
        return self.order.priority(self.turn, self.answers) if self.noise_RL is None else self.score_RL

    @cached_property
    def chosen_RL(self) -> torch.Tensor:
        """Open positions that are written: what order and quota say, unless a revision has set something else."""
        return self.select(self)


@dataclass(frozen=True)
class Revision(Rule):
    """A rule that takes tokens back, or others in their place."""

    judges: ClassVar[bool] = False  # it asks about committed positions; at these the likeliest token is proposed
    needs_steps: ClassVar[bool] = True  # it goes only with a fixed number of steps
    needs_scores: ClassVar[bool] = False  # and only with an order that scores tokens

    def before(self, turn: Turn) -> Before:
        return Before()

    def after(self, step: Step) -> None:
        """May set `chosen_RL`, `reopen_RL` and `rewrite_RL`."""

    def done(self, turn: Turn) -> torch.Tensor:
        """Bool [R]: of rows with nothing open in their block, those that are done with it."""
        return turn.left_R == 0

    def leave(self, canvas: Canvas, rows_R: torch.Tensor) -> None:
        """Rows leave their block."""


REVISIONS: Registry[Revision] = Registry("revise")
