"""Where rows are filled: a canvas, and what its rows may write and where they end.

    stage = Stage.of(model, slots=16, width=512)

Rows that are prepared together have one that is just large enough; a loop has one for all the rows that join it, and
takes what they hold from theirs.

Shapes: R rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import Table
from unmask.model.config import ModelConfig


@dataclass
class Stage:
    """Columns of one table."""

    canvas: Canvas
    limits: Limits
    endings: Endings

    @classmethod
    def of(cls, config: ModelConfig, eos_ids: Sequence[int], slots: int, width: int) -> Stage:
        """For so many rows of so many positions."""
        canvas = Canvas(Table(slots, width), config.blank_id, config.vocab_size)
        return cls(canvas, Limits(canvas, config.vocab_size), Endings(canvas, eos_ids))

    @property
    def table(self) -> Table:
        return self.canvas.table

    def put(self, rows_R: torch.Tensor, places: Sequence[tuple[Stage, int]]) -> None:
        """Gives rows that have joined what each has in its slot of another stage, or leaves them what they have where
        that is this one; their time begins."""
        if places[0][0] is not self:
            self.copy(rows_R, places)
        self.canvas.begin(rows_R)
        self.refresh()

    def copy(self, rows_R: torch.Tensor, places: Sequence[tuple[Stage, int]]) -> None:
        together: dict[int, list[tuple[int, int]]] = {}
        tables = {id(stage): stage.table for stage, _ in places}
        for row, (stage, slot) in zip(rows_R.tolist(), places, strict=True):
            together.setdefault(id(stage), []).append((row, slot))
        for number, moves in together.items():
            self.table.put([row for row, _ in moves], tables[number], [slot for _, slot in moves])

    def refresh(self) -> None:
        """Rows have joined or left."""
        self.limits.refresh()
        self.endings.refresh()
