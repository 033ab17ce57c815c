"""What a step of decoding did, as events: at a row's position stands a token now, or it is open again.

    events = loop.step().events
    for event in events.of(row): ...           # {step, position, token, probability}, as `Generation.trace` has them

A later event at a place replaces the earlier one, so that all events of a row, one after another, are its text. Traces
are made of them; who streams a row reads them as well.

Shapes: N events, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

FIELDS = ("step", "position", "token", "probability")


@dataclass  # one a step: a frozen one takes several times as long to make
class Events:
    """Of the rows of a table, by their slots."""

    mask_id: int
    row_N: torch.Tensor
    position_N: torch.Tensor
    token_N: torch.Tensor  # the mask's id where the position is open again
    probability_N: torch.Tensor  # float64, of the token when it was written; 0 where the position is open again
    step_N: torch.Tensor  # of the row itself

    @classmethod
    def joined(cls, mask_id: int, pieces: Sequence[Events]) -> Events:
        """One after another."""
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            none, no_float = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
            return cls(mask_id, none, none, none, no_float, none)
        names = ("row_N", "position_N", "token_N", "probability_N", "step_N")
        return cls(mask_id, *(torch.cat([getattr(piece, name) for piece in pieces]) for name in names))

    def __len__(self) -> int:
        return len(self.row_N)

    @property
    def open_N(self) -> torch.Tensor:
        """Bool [N]: the position is open again."""
        return self.token_N == self.mask_id

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(row, event)."""
        columns = (self.step_N, self.position_N, self.token_N, self.probability_N)
        for row, *values in zip(self.row_N.tolist(), *(column.tolist() for column in columns), strict=True):
            yield row, dict(zip(FIELDS, values, strict=True))

    def of(self, row: int) -> list[dict[str, Any]]:
        """A row's own."""
        return [event for number, event in self if number == row]
