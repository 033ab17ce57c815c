"""Editing: a committed token gives way to a likelier one without becoming a mask first (LLaDA2.1).

    generate(model, prompts, order="confidence", quota="threshold:0.7", revise="edit:0.9")

Tokens of a pattern are left as they are.

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.decoding.rules.registry import parameter
from unmask.decoding.rules.revise import REVISIONS, Before, Revision, Step
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.turn import Turn


@REVISIONS.register("edit")
@dataclass(frozen=True)
class Edit(Revision):
    """A committed token gives way to another with p > threshold; when no mask is left, up to `passes` that only edit.

    These end when one changes nothing.
    """

    judges = True
    needs_steps = False
    threshold: float = parameter(0.9, 0.0, 1.0, above=True)
    passes: float = parameter(16, 0, whole=True)

    @staticmethod
    def columns(canvas: Canvas) -> tuple[torch.Tensor, torch.Tensor]:
        """Passes of a row that only edit, in this block; whether the last of them changed nothing."""
        return canvas.table.rows("edit: passes", torch.int64), canvas.table.rows("edit: quiet", torch.bool)

    @staticmethod
    def revisable(turn: Turn) -> torch.Tensor:
        return turn.committed_RL & ~turn.canvas.spanned_BL[turn.rows_R]

    def before(self, turn: Turn) -> Before:
        return Before(asks_RL=self.revisable(turn), needs_R=turn.left_R == 0)

    def after(self, step: Step) -> None:
        turn, answers = step.turn, step.answers
        passes_B, quiet_B = self.columns(turn.canvas)
        other_RL = answers["tokens"] != turn.canvas.tokens_BL[turn.rows_R]
        step.rewrite_RL = self.revisable(turn) & other_RL & (answers["probability"] > self.threshold)
        only_R = turn.left_R == 0
        passes_B[turn.rows_R[only_R]] += 1
        quiet_B[turn.rows_R] = only_R & ~step.rewrite_RL.any(1)

    def done(self, turn: Turn) -> torch.Tensor:
        passes_B, quiet_B = self.columns(turn.canvas)
        none_R, spent_R = ~self.revisable(turn).any(1), passes_B[turn.rows_R] >= int(self.passes)
        return (turn.left_R == 0) & (none_R | quiet_B[turn.rows_R] | spent_R)

    def leave(self, canvas: Canvas, rows_R: torch.Tensor) -> None:
        passes_B, quiet_B = self.columns(canvas)
        passes_B[rows_R], quiet_B[rows_R] = 0, False
