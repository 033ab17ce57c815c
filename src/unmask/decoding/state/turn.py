"""A turn: rows of one kind of rules that act in the same pass, each at a step of its own; and their noise.

    turn.left_R, turn.t_R, turn.uniforms(TOKENS)

All randomness is a function of (seed, row, stream, step, position): a row draws the same alone, in any batch, on any
device.

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch

from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import Table

# Draw 0 of a row orders its positions; draw 1 + tick of it chooses tokens. Other streams lie beyond any tick.
KEYS, TOKENS, PRIORITIES, UNMASKING, REMASKING = 0, 1, 1 << 40, 2 << 40, 3 << 40
ORDERING = 4 << 40


@dataclass
class Turn:
    """The rows of a group that act in one pass."""

    canvas: Canvas
    rows_R: torch.Tensor  # indices into the canvas
    open_RL: torch.Tensor  # masks of each row's current block: what may be committed
    block_R: torch.Tensor  # number of each row's current block
    block_RL: torch.Tensor  # all new positions of the block, committed ones too
    index_BL: torch.Tensor
    keys_BL: torch.Tensor
    step_R: torch.Tensor  # within the block
    steps_R: torch.Tensor  # that the block has; 0: as many as it takes
    global_step_R: torch.Tensor  # over all blocks
    tick_R: torch.Tensor  # steps of the row so far, silent ones too: what tells one draw from the next
    share_R: torch.Tensor | None = None  # of the masks that a step unmasks, where remasking changes it

    def __post_init__(self) -> None:
        self.eligible_RL = self.open_RL  # of these, where a token may be written in this step

    @property
    def table(self) -> Table:
        """For the columns of rules."""
        return self.canvas.table

    @cached_property
    def index_RL(self) -> torch.Tensor:
        """Of a position within its block; meaningless outside."""
        return self.index_BL[self.rows_R]

    @cached_property
    def keys_RL(self) -> torch.Tensor:
        """A uniform per position, drawn once per row."""
        return self.keys_BL[self.rows_R]

    @cached_property
    def left_R(self) -> torch.Tensor:
        return self.open_RL.sum(1)

    @cached_property
    def last_R(self) -> torch.Tensor:
        """Rows at the last step of their block, or beyond it."""
        return (self.steps_R > 0) & (self.step_R >= self.steps_R - 1)

    @cached_property
    def committed_RL(self) -> torch.Tensor:
        """Positions of the block that hold a token and may be revised."""
        return self.block_RL & ~self.open_RL & ~self.canvas.forced_BL[self.rows_R]

    @property
    def ended_R(self) -> torch.Tensor:
        """Rows whose text has ended before its length."""
        return torch.tensor([self.canvas.ended[row] is not None for row in self.rows_R.tolist()], dtype=torch.bool)

    @property
    def t_R(self) -> torch.Tensor:
        """Noise level: the masks left of all that the row had; forced tokens never were any."""
        new_R = (self.canvas.new_BL & ~self.canvas.forced_BL)[self.rows_R].sum(1)
        return self.canvas.open_BL[self.rows_R].sum(1) / new_R.clamp(min=1)

    def uniforms(self, stream: int) -> torch.Tensor:
        """A float64 uniform per new position, of this tick."""
        return row_uniforms(self.canvas, self.rows_R, stream + self.tick_R)

    def random_tokens(self, stream: int) -> torch.Tensor:
        """A uniformly random token for each new position [R, L], of this tick; never the mask."""
        mask_id, size = self.canvas.mask_id, self.canvas.vocab_size
        inside = mask_id < size
        tokens_RL = (self.uniforms(stream) * (size - inside)).long()
        return tokens_RL + (tokens_RL >= mask_id) if inside else tokens_RL


def stream(name: str) -> int:
    """Noise of a rule's own, `turn.uniforms(stream("lean"))`: a number by the name, beyond the streams above."""
    return (16 + (int.from_bytes(hashlib.sha256(name.encode()).digest()[:3]) >> 4)) << 40


def row_uniforms(canvas: Canvas, rows_R: torch.Tensor, draw_R: torch.Tensor) -> torch.Tensor:
    """A float64 uniform for every new position of the rows, by (seed, row, draw, number); 0 at other positions."""
    most = max(canvas.table.width, int(canvas.numbers_B.max()))
    values_RN = canvas.uniforms.rows([canvas.seeds[row] for row in rows_R.tolist()], draw_R.tolist(), most)
    number_RL = canvas.number_BL[rows_R].clamp(min=0)
    return torch.from_numpy(values_RN).gather(1, number_RL).mul_(canvas.new_BL[rows_R])
