"""The clock: walks each row of a group through its blocks and steps, to the next step that needs a pass.

    clock = Clock(canvas, rows_G, steps_B, block_B)
    turn = clock.turn(rows_R); clock.advance(rows_R)

With blocks (semi-autoregressive decoding, arXiv 2502.09992) a row's new positions are cut, left to right, into blocks,
the last one shorter, and its steps are divided over them, the first blocks getting the remainder.

Shapes: B rows of the canvas, G rows of the group, R rows in a turn, L positions.
"""

from __future__ import annotations

import torch

from decoding.before.state.canvas import Canvas
from decoding.before.state.turn import KEYS, Turn, row_uniforms


class Clock:
    """Where each row stands. `steps_B` 0: as many as it takes; `block_B` 0: one block."""

    def __init__(self, canvas: Canvas, rows_G: torch.Tensor, steps_B: torch.Tensor, block_B: torch.Tensor) -> None:
        self.canvas, self.rows_G = canvas, rows_G
        new_B = canvas.new_BL.sum(1)
        self.size_B = torch.where(block_B > 0, block_B, new_B).clamp(min=1)
        self.blocks_B = -(-new_B // self.size_B)
        self.base_B, self.extra_B = steps_B // self.blocks_B.clamp(min=1), steps_B % self.blocks_B.clamp(min=1)
        self.block_BL = canvas.rank_BL // self.size_B[:, None]
        self.index_BL = canvas.rank_BL % self.size_B[:, None]
        self.at_block_B = torch.zeros_like(steps_B)
        self.at_step_B = torch.zeros_like(steps_B)
        self.tick_B = torch.zeros_like(steps_B)
        keys_GL = row_uniforms(canvas, rows_G, torch.full_like(rows_G, KEYS))
        self.keys_BL = torch.zeros(canvas.tokens_BL.shape, dtype=torch.float64)
        self.keys_BL[rows_G] = keys_GL

    def running(self) -> torch.Tensor:
        """Rows of the group with a block still to be done."""
        return self.rows_G[self.is_running(self.rows_G)]

    def is_running(self, rows_R: torch.Tensor) -> torch.Tensor:
        return self.at_block_B[rows_R] < self.blocks_B[rows_R]

    def turn(self, rows_R: torch.Tensor) -> Turn:
        block_R, step_R = self.at_block_B[rows_R], self.at_step_B[rows_R]
        base_R, extra_R, tick_R = self.base_B[rows_R], self.extra_B[rows_R], self.tick_B[rows_R]
        steps_R = base_R + (block_R < extra_R)
        block_RL = self.canvas.new_BL[rows_R] & (self.block_BL[rows_R] == block_R[:, None])
        scheduled_R = block_R * base_R + torch.minimum(block_R, extra_R) + torch.minimum(step_R, steps_R - 1)
        return Turn(
            canvas=self.canvas,
            rows_R=rows_R,
            open_RL=self.canvas.open_BL[rows_R] & block_RL,
            block_R=block_R,
            block_RL=block_RL,
            index_RL=self.index_BL[rows_R],
            keys_RL=self.keys_BL[rows_R],
            step_R=step_R,
            steps_R=steps_R,
            global_step_R=torch.where(steps_R > 0, scheduled_R, tick_R),
            tick_R=tick_R,
        )

    def advance(self, rows_R: torch.Tensor) -> None:
        """A step on."""
        self.at_step_B[rows_R] += 1
        self.tick_B[rows_R] += 1

    def next_block(self, rows_R: torch.Tensor) -> None:
        self.at_block_B[rows_R] += 1
        self.at_step_B[rows_R] = 0
