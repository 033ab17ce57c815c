"""The clock: walks each row through its blocks and steps, to the next step that needs a pass.

    clock = Clock(canvas); clock.join(rows_R, steps_R, block_R)
    turn = clock.turn(rows_R); clock.advance(rows_R)

With blocks (semi-autoregressive decoding, arXiv 2502.09992) a row's new positions are cut, left to right, into blocks,
the last one shorter, and its steps are divided over them, the first blocks getting the remainder.

Shapes: B rows of the canvas, R rows in a turn, L positions.
"""

from __future__ import annotations

import torch

from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import span
from unmask.decoding.state.turn import KEYS, Turn, row_uniforms

STEP_15 = torch.tensor([[0, 1, 1, 0, 0]])


class Clock:
    """Where each row stands, in columns of the canvas's table."""

    def __init__(self, canvas: Canvas) -> None:
        table = canvas.table
        self.canvas = canvas
        # How many blocks, steps of each, and blocks with a step more.
        self.plan_B3 = table.rows("blocks and steps", torch.int64, shape=(3,), fixed=True)
        # Side by side, since every turn reads them: where a row is (block, step in it, steps in all), and how many
        # steps its block has and the blocks before it have.
        self.now_B5 = table.rows("block, step, tick, its steps, those before", torch.int64, shape=(5,))
        self.blocks_B, self.at_block_B = self.plan_B3[:, 0], self.now_B5[:, 0]
        self.block_BL = table.positions("block", torch.int64, fixed=True)
        self.index_BL = table.positions("index in block", torch.int64, fixed=True)
        self.keys_BL = table.positions("keys", torch.float64, fixed=True)
        self.moves = 0  # changes when a row joins or goes on to its next block: until then the same ones run

    def join(self, rows_R: torch.Tensor, steps_R: torch.Tensor, block_R: torch.Tensor) -> None:
        """`steps_R` 0: as many as it takes; `block_R` 0: one block."""
        canvas, here = self.canvas, span(rows_R)
        new_R = canvas.new_BL[here].sum(1)
        size_R = torch.where(block_R > 0, block_R, new_R).clamp(min=1)
        blocks_R = -(-new_R // size_R)
        divided_R = blocks_R.clamp(min=1)
        self.plan_B3[here] = torch.stack([blocks_R, steps_R // divided_R, steps_R % divided_R], dim=1)
        self.block_BL[here] = canvas.rank_BL[here] // size_R[:, None]
        self.index_BL[here] = canvas.rank_BL[here] % size_R[:, None]
        self.keys_BL[here] = row_uniforms(canvas, rows_R, torch.full_like(rows_R, KEYS))
        self.to_block(rows_R, torch.zeros_like(rows_R))

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        """Behind `canvas.splice`: an inserted position goes to the block of the one before it or, where that is done,
        to the one that is filled now."""
        canvas, block_L = self.canvas, self.block_BL[row]
        last = int(self.blocks_B[row]) - 1
        inserted = ((from_L < 0) & canvas.new_BL[row]).nonzero().flatten().tolist()
        for position in inserted:
            before = int(block_L[position - 1]) if position and canvas.new_BL[row, position - 1] else 0
            block_L[position] = min(max(before, int(self.at_block_B[row])), last)
        for block in range(last + 1):
            inside_L = canvas.new_BL[row] & (block_L == block)
            self.index_BL[row, inside_L] = torch.arange(int(inside_L.sum()))
        keys_1L = row_uniforms(canvas, torch.tensor([row]), torch.tensor([KEYS]))
        self.keys_BL[row, inserted] = keys_1L[0, inserted]

    def is_running(self, rows_R: torch.Tensor) -> torch.Tensor:
        """Bool [R]: whether a block is still to be done."""
        return self.at_block_B[rows_R] < self.blocks_B[rows_R]

    def turn(self, rows_R: torch.Tensor) -> Turn:
        block_R, step_R, tick_R, steps_R, before_R = self.now_B5[rows_R].unbind(1)
        block_RL = self.canvas.new_BL[rows_R] & (self.block_BL[rows_R] == block_R[:, None])
        return Turn(
            canvas=self.canvas,
            rows_R=rows_R,
            open_RL=self.canvas.open_BL[rows_R] & block_RL,
            block_R=block_R,
            block_RL=block_RL,
            index_BL=self.index_BL,
            keys_BL=self.keys_BL,
            step_R=step_R,
            steps_R=steps_R,
            global_step_R=torch.where(steps_R > 0, before_R + torch.minimum(step_R, steps_R - 1), tick_R),
            tick_R=tick_R,
        )

    def advance(self, rows_R: torch.Tensor) -> None:
        """A step on."""
        self.now_B5.index_add_(0, rows_R, STEP_15.expand(len(rows_R), 5))

    def next_block(self, rows_R: torch.Tensor) -> None:
        self.to_block(rows_R, self.at_block_B[rows_R] + 1)

    def to_block(self, rows_R: torch.Tensor, block_R: torch.Tensor) -> None:
        """To the first step of these blocks."""
        _, base_R, extra_R = self.plan_B3[rows_R].unbind(1)
        tick_R, before_R = self.now_B5[rows_R, 2], block_R * base_R + torch.minimum(block_R, extra_R)
        steps_R = base_R + (block_R < extra_R)
        self.now_B5[rows_R] = torch.stack([block_R, torch.zeros_like(block_R), tick_R, steps_R, before_R], dim=1)
        self.moves += 1
