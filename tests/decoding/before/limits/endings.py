"""Where a row's text ends: its end of sequence, or a stop string.

    endings = Endings(canvas, ["fill", "stop"], [False, False], eos_ids, stops)
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

from decoding.before.state.canvas import Canvas
from unmask.decoding.limits.constraints import StopStrings


class Endings:
    """Closes rows whose text has ended."""

    def __init__(
        self,
        canvas: Canvas,
        modes: Sequence[str],
        revises: Sequence[bool],
        eos_ids: Sequence[int],
        stops: Sequence[StopStrings | None] = (),
    ) -> None:
        """modes: how each row ends, see above. revises: whether its tokens may be taken back."""
        self.canvas, self.eos_ids = canvas, tuple(eos_ids)  # any of them ends a text
        modes = modes if eos_ids else ["fill"] * len(modes)
        self.stop_B = torch.tensor([mode == "stop" for mode in modes])
        self.truncate_B = torch.tensor([mode == "truncate" for mode in modes])
        self.revises_B = torch.tensor(list(revises), dtype=torch.bool)
        self.stops = list(stops) or [None] * len(modes)
        self.surplus = [0] * len(modes)  # characters at the end of a row's text that belong to a stop string
        self.any = bool((self.stop_B | self.truncate_B).any()) or any(stop is not None for stop in self.stops)

    def has_ended(self, rows_R: torch.Tensor) -> torch.Tensor:
        return torch.tensor([self.canvas.ended[row] is not None for row in rows_R.tolist()], dtype=torch.bool)

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
