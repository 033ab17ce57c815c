"""The canvas: a batch of rows with given tokens and positions still to be filled.

    canvas = Canvas.of([[5, 7, mask_id], [9]], [4, 4], mask_id=mask_id, seeds=[(0, 0), (0, 1)])
    canvas.commit(rows_R, chosen_RL, tokens_RL, probability_RL, step_R)

A row is its prompt, in which mask tokens are blanks, followed by `length` new positions; shorter rows are padded on
the right. Which positions are open is a column of its own: what an open position shows (the mask, unless a rule shows
something else there) says nothing. The canvas lives on the CPU: only tokens go to the model's device and only proposals
come back. A ``watch`` callback is given the canvas itself after every pass, to be read, not written.

Shapes: B rows, L positions, R rows taking part in a pass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from unmask.decoding.state.events import Events
from unmask.decoding.state.table import FullError, Table, span
from unmask.diffusion.noise import Uniforms


class Canvas:
    """State of a batch while it is filled; all tensors are [B, L] or [B], columns of the table, and lie on the CPU."""

    def __init__(self, table: Table, mask_id: int, vocab_size: int | None = None) -> None:
        """vocab_size: of all tokens, the mask among them where it is one; by default `mask_id`."""
        self.table, self.mask_id, self.vocab_size = table, mask_id, mask_id if vocab_size is None else vocab_size
        self.tokens_BL = table.positions("tokens", torch.int64, mask_id)  # what an open position shows, too
        self.new_BL = table.positions("new", torch.bool)  # positions this call fills
        self.open_BL = table.positions("open", torch.bool)  # those of them not filled now
        self.forced_BL = table.positions("forced", torch.bool, fixed=True)  # those filled by the caller's word
        self.spanned_BL = table.positions("spanned", torch.bool, fixed=True)  # those of patterns, see `limits`
        self.rank_BL = table.positions("rank", torch.int64, fixed=True)  # index among the row's new positions
        # Which of the row's random numbers a position draws: its rank, until positions move.
        self.number_BL = table.positions("number", torch.int64, fixed=True)
        self.numbers_B = table.rows("numbers", torch.int64, fixed=True)  # used until now; 0: no position has moved
        self.probability_BL = table.positions("probability", torch.float64)
        self.step_BL = table.positions("step", torch.int64, -1)
        self.lengths_B = table.rows("length", torch.int64)  # a row's positions; beyond lies padding
        # Where its continuation begins: the length of its prompt.
        self.starts_B = table.rows("start", torch.int64, fixed=True)
        # How many tokens of it the caller did not give: the end of sequence behind which a text begins.
        self.added_B = table.rows("added", torch.int64, fixed=True)
        self.nfe_B = table.rows("nfe", torch.int64)
        self.computed_B = table.rows("computed", torch.int64)  # token positions the network ran for the row
        self.started_B = table.rows("started", torch.float64, fixed=True)
        self.first_B = table.rows("first", torch.float64, -1.0)  # seconds until the first commit
        self.finished_B = table.rows("finished", torch.float64, -1.0)  # and until the last one
        self.seeds: list[tuple[int, int]] = table.objects("seed", lambda: (0, 0), fixed=True)
        self.ended: list[str | None] = table.objects("ended", lambda: None)  # why a row ended before its length
        self.trace: list[list[dict[str, Any]] | None] = table.objects("trace", lambda: None, fixed=True)
        self.log: list[Events] = []  # what was written and opened since `tell`
        self.passes = 0  # passes of the batch so far; a guided pass counts once here, twice in nfe_B
        self.done = False

    @cached_property
    def uniforms(self) -> Uniforms:
        """Where the rows' random numbers come from."""
        return Uniforms()

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        mask_id: int,
        seeds: Sequence[tuple[int, int]] | None = None,
        trace: bool = False,
        added: Sequence[int] | None = None,
    ) -> Canvas:
        """A canvas that is just large enough for the rows that `join` takes."""
        width = max(len(prompt) + length for prompt, length in zip(prompts, lengths, strict=True))
        canvas = cls(Table(len(prompts), width), mask_id)
        canvas.join(prompts, lengths, seeds, trace, added)
        return canvas

    def join(
        self,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        seeds: Sequence[tuple[int, int]] | None = None,
        trace: bool = False,
        added: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """New rows, in free slots: `prompts` (in which `mask_id` marks a blank), each followed by so many new
        positions. Returns the slots."""
        rows_R = self.table.join(len(prompts))
        for number, (row, prompt) in enumerate(zip(rows_R.tolist(), prompts, strict=True)):
            self.tokens_BL[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
            self.seeds[row] = (0, number) if seeds is None else seeds[number]
            self.trace[row] = [] if trace else None
        here, starts_R = span(rows_R), torch.tensor([len(prompt) for prompt in prompts])
        lengths_R = starts_R + torch.tensor(list(lengths))
        self.starts_B[here], self.lengths_B[here] = starts_R, lengths_R
        if added is not None:
            self.added_B[here] = torch.tensor(list(added))
        inside_RL = torch.arange(self.table.width) < lengths_R[:, None]
        new_RL = inside_RL & (self.tokens_BL[here] == self.mask_id)
        self.new_BL[here] = self.open_BL[here] = new_RL
        self.rank_BL[here] = self.number_BL[here] = new_RL.cumsum(1) - 1
        self.begin(rows_R)
        return rows_R

    def begin(self, rows_R: torch.Tensor) -> None:
        """Their time runs from now on."""
        self.started_B[rows_R] = time.perf_counter()

    @property
    def rows(self) -> torch.Tensor:
        """The slots that hold a row."""
        return self.table.taken

    @property
    def given_BL(self) -> torch.Tensor:
        """Positions of the prompt that hold a token of the caller's: what guidance hides, in `score` as here."""
        theirs_BL = torch.arange(self.tokens_BL.shape[1]) >= self.added_B[:, None]
        return self.inside_BL & ~self.new_BL & theirs_BL

    @property
    def inside_BL(self) -> torch.Tensor:
        return torch.arange(self.tokens_BL.shape[1]) < self.lengths_B[:, None]

    def commit(
        self,
        rows_R: torch.Tensor,
        chosen_RL: torch.Tensor,
        tokens_RL: torch.Tensor,
        probability_RL: torch.Tensor,
        step_R: torch.Tensor,
    ) -> None:
        """Writes the proposed tokens at the chosen positions; `step_R` is each row's own step."""
        at_N, position_N = chosen_RL.nonzero(as_tuple=True)
        if not len(at_N):
            return
        row_N = rows_R[at_N]
        self.write(row_N, position_N, tokens_RL[at_N, position_N], probability_RL[at_N, position_N], step_R[at_N])

    def write(
        self,
        row_N: torch.Tensor,
        position_N: torch.Tensor,
        tokens_N: torch.Tensor,
        probability_N: torch.Tensor,
        step_N: torch.Tensor,
    ) -> None:
        """Commits N tokens, each at its row and position."""
        self.tokens_BL[row_N, position_N] = tokens_N
        self.probability_BL[row_N, position_N] = probability_N
        self.step_BL[row_N, position_N] = step_N
        self.open_BL[row_N, position_N] = False
        now_N = time.perf_counter() - self.started_B[row_N]
        self.first_B[row_N] = torch.where(self.first_B[row_N] < 0, now_N, self.first_B[row_N])
        self.finished_B[row_N] = now_N
        self.log.append(Events(self.mask_id, row_N, position_N, tokens_N, probability_N, step_N))

    def remask(self, rows_R: torch.Tensor, chosen_RL: torch.Tensor, step_R: torch.Tensor) -> None:
        """Opens committed positions again."""
        at_N, position_N = chosen_RL.nonzero(as_tuple=True)
        if not len(at_N):
            return
        row_N = rows_R[at_N]
        self.tokens_BL[row_N, position_N] = self.mask_id
        self.probability_BL[row_N, position_N] = 0.0
        self.step_BL[row_N, position_N] = -1
        self.open_BL[row_N, position_N] = True
        masks_N = torch.full_like(row_N, self.mask_id)
        none_N = torch.zeros(len(row_N), dtype=torch.float64)
        self.log.append(Events(self.mask_id, row_N, position_N, masks_N, none_N, step_R[at_N]))

    def show(self, rows_R: torch.Tensor, chosen_RL: torch.Tensor, tokens_RL: torch.Tensor) -> None:
        """What open positions hold in place of the mask; they stay open, and the trace says nothing of it."""
        at_N, position_N = chosen_RL.nonzero(as_tuple=True)
        self.tokens_BL[rows_R[at_N], position_N] = tokens_RL[at_N, position_N]

    def force(self, row: int, position: int, token: int) -> None:
        """Fills a new position by the caller's word: never asked for, never revised."""
        self.tokens_BL[row, position] = token
        self.probability_BL[row, position] = 1.0
        self.open_BL[row, position] = False
        self.forced_BL[row, position] = True

    def splice(self, row: int, start: int, delete: int, insert: int) -> torch.Tensor:
        """Takes `delete` positions out of a row, new ones all of them, and puts `insert` open ones in their place; what
        lies behind moves. Returns the index map [L]: where what now stands at a place stood before, -1 for nowhere.

        A position that moves keeps its random numbers; a new one has numbers of its own. Raises `ValueError` for a
        splice beyond the row or of what the caller gave, and `FullError` where the row gets longer than the table is
        wide.
        """
        length, width = int(self.lengths_B[row]), self.table.width
        stop, after = start + delete, length + insert - delete
        what = f"a splice of positions {start} to {stop} of the row in slot {row}"
        if not (int(self.added_B[row]) <= start and 0 <= delete and stop <= length and insert >= 0):
            raise ValueError(f"{what} lies beyond its {length}")
        if not self.new_BL[row, start:stop].all() or self.forced_BL[row, start:stop].any():
            raise ValueError(f"{what} takes out given tokens")
        if after > width:
            raise FullError(f"a row of {after} positions does not fit in a table of rows of {width}")
        place_L = torch.arange(width)
        from_L = torch.where(place_L < start, place_L, place_L + delete - insert)
        from_L[start : start + insert] = -1
        from_L[after:] = -1
        free = int(self.numbers_B[row]) or int(self.number_BL[row].max()) + 1
        self.table.splice(row, from_L)
        inserted = slice(start, start + insert)
        self.new_BL[row, inserted] = self.open_BL[row, inserted] = True
        self.number_BL[row, inserted] = torch.arange(free, free + insert)
        self.rank_BL[row] = self.new_BL[row].cumsum(0) - 1
        self.lengths_B[row], self.numbers_B[row] = after, free + insert
        before = int(self.starts_B[row])
        self.starts_B[row] += (insert if start < before else 0) - max(0, min(stop, before) - start)
        return from_L

    def tell(self) -> Events:
        """What was written and opened since it was last asked; the rows that keep a trace note it."""
        events, self.log = Events.joined(self.mask_id, self.log), []
        self.note(events)
        return events

    def note(self, events: Events) -> None:
        if any(self.trace[row] is not None for row in set(events.row_N.tolist())):
            for row, event in events:
                if (trace := self.trace[row]) is not None:
                    trace.append(event)

    def first_eos_B(self, eos_ids: Sequence[int]) -> torch.Tensor:
        """Position of the first end-of-sequence token filled in behind each prompt; L where there is none."""
        length = self.tokens_BL.shape[1]
        position_L = torch.arange(length)
        behind_BL = self.new_BL & ~self.open_BL & (position_L >= self.starts_B[:, None])
        ends_BL = torch.isin(self.tokens_BL, torch.tensor(eos_ids, dtype=torch.int64))
        return torch.where(behind_BL & ends_BL, position_L, length).amin(1)

    def settled_B(self) -> torch.Tensor:
        """Each row's first open position, up to which its text is settled; L where nothing is open."""
        length = self.tokens_BL.shape[1]
        return torch.where(self.open_BL, torch.arange(length), length).amin(1)

    def cut(self, row: int, length: int, why: str) -> None:
        """Drops a row's positions from `length` on."""
        self.lengths_B[row] = length
        self.new_BL[row, length:] = False
        self.open_BL[row, length:] = False
        self.ended[row] = why
