"""Where a row's text ends: its end of sequence, or a stop string.

    endings = Endings(canvas, eos_ids); endings.join(rows_R, ["fill", "stop"], [False, False], stops)
    endings.close(rows_R)                  # after every pass

fill      everything asked for is written; only `Generation.text` is cut
truncate  a row ends once everything before its first end of sequence is written: the same law, and no pass for the rest
stop      what lies behind an end of sequence is dropped as soon as one is written anywhere, and never run again
suppress  the end of sequence is not written (see `limits`)

A stop string ends a row once the text up to it is settled, the one that begins first where several overlap. While
tokens may still be taken back (`revise`), a row's text is settled at the end of a block only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unmask.decoding.limits.constraints import StopStrings
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import span


class Endings:
    """Closes rows whose text has ended."""

    def __init__(self, canvas: Canvas, eos_ids: Sequence[int]) -> None:
        table = canvas.table
        self.canvas, self.eos_ids = canvas, tuple(eos_ids)  # any of them ends a text
        self.stop_B = table.rows("eos stops", torch.bool, fixed=True)
        self.truncate_B = table.rows("eos truncates", torch.bool, fixed=True)
        self.revises_B = table.rows("revises", torch.bool, fixed=True)
        self.stops: list[StopStrings | None] = table.objects("stop strings", lambda: None, fixed=True)
        # Characters at the end of a row's text that belong to a stop string.
        self.surplus: list[int] = table.objects("surplus", int)
        self.any = False

    def join(
        self,
        rows_R: torch.Tensor,
        modes: Sequence[str],
        revises: Sequence[bool],
        stops: Sequence[StopStrings | None] | None = None,
    ) -> None:
        """modes: how each row ends, see above. revises: whether its tokens may be taken back."""
        for number, row in enumerate(rows_R.tolist()):
            self.stops[row] = None if stops is None else stops[number]
        here = span(rows_R)
        if self.eos_ids:
            self.stop_B[here] = torch.tensor([mode == "stop" for mode in modes])
            self.truncate_B[here] = torch.tensor([mode == "truncate" for mode in modes])
        self.revises_B[here] = torch.tensor(list(revises), dtype=torch.bool)
        self.refresh()

    def refresh(self) -> None:
        """Rows have joined or left."""
        ends_B = (self.stop_B | self.truncate_B) & self.canvas.table.taken_B
        self.any = bool(ends_B.any()) or any(stop is not None for stop in self.stops)

    def close(self, rows_R: torch.Tensor, settled: bool = False) -> None:
        """Cuts rows that have ended. `settled`: rows that revise are at the end of a block."""
        if not self.any:
            return
        canvas = self.canvas
        width = canvas.tokens_BL.shape[1]
        eos_B = canvas.first_eos_B(self.eos_ids)
        settled_B = canvas.settled_B()
        for row in rows_R.tolist():
            if bool(self.revises_B[row]) and not settled:
                continue
            eos, until = int(eos_B[row]), int(settled_B[row])
            ends = eos < width and (bool(self.stop_B[row]) or (bool(self.truncate_B[row]) and eos < until))
            stop = self.stops[row]
            if stop is not None and canvas.ended[row] != "stop":
                start, length = int(canvas.starts_B[row]), int(canvas.lengths_B[row])
                ids = canvas.tokens_BL[row, start : min(until, length)].tolist()
                found = stop.find(ids, last=until >= length)
                if found is not None and start + found.token < eos:
                    canvas.cut(row, start + found.token + 1, "stop")
                    self.surplus[row] = found.surplus
                    continue
            if ends and eos + 1 < int(canvas.lengths_B[row]):
                canvas.cut(row, eos + 1, "eos")
