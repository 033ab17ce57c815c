"""Rows that come and go between passes: what the loop of a masked model and that of its autoregressive twin share.

    loop = Loop(model, Budget(slots=16, width=512, positions=4096, cache_bytes=1 << 30))
    seats = loop.join(rows)                        # `prepare`d ones; `FullError` where there is no room
    while loop.running:
        passed = loop.step()                       # or step(seats): only these rows take part
        ...                                        # passed.events, passed.ended
        loop.leave(passed.ended)
    loop.cancel(seat)                              # between two steps: it goes as it is

A row is spoken of by its seat: its slot, and the slot's generation, which no later row there has. Room is counted when
rows join (slots, positions, bytes of cached keys and values), so that a row that has joined can be filled to its end.
A pass that raises changes nothing: the table is as it was, `PassError` names the rows, and a step without those that
are at fault goes on.

Shapes: R rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch

from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.events import Events
from unmask.decoding.state.table import FullError


class Seat(NamedTuple):
    """Where a row is, and which of the slot's rows it is."""

    slot: int
    generation: int


class GoneError(RuntimeError):
    """A row that is not there any more."""


class PassError(RuntimeError):
    """A pass raised; its rows, of which some are at fault. The table is as it was before."""

    def __init__(self, seats: Sequence[Seat], error: Exception) -> None:
        slots = ", ".join(str(seat.slot) for seat in seats)
        super().__init__(f"a pass of the rows in slots {slots} raised {type(error).__name__}: {error}")
        self.seats = tuple(seats)


@dataclass(frozen=True)
class Budget:
    """What rows may take together."""

    slots: int
    width: int  # positions of a row
    positions: int | None = None  # of all rows together; None: as many as the slots have
    cache_bytes: int | None = None  # of cached keys and values; None: as many as the slots could need
    negative: int = 0  # tokens of the longest negative prompt


@dataclass
class Passed:
    """What a step did."""

    seats: tuple[Seat, ...]  # rows that took part; none where no row needed a pass
    events: Events
    ended: tuple[Seat, ...]  # rows that are done since: they keep their slots until they leave


class Guest(Protocol):
    """A row that joins."""

    @property
    def positions(self) -> int: ...


G = TypeVar("G", bound=Guest)


class Rows(ABC, Generic[G]):
    """Slots, seats and room; how rows are filled is a subclass's."""

    def __init__(self, canvas: Canvas, budget: Budget) -> None:
        self.canvas, self.table, self.budget = canvas, canvas.table, budget
        self.over_B = self.table.rows("over", torch.bool)  # done, but not gone
        self.positions_B = self.table.rows("positions", torch.int64, fixed=True)
        self.live_R = torch.empty(0, dtype=torch.int64)  # rows that are not done
        self.running = False  # whether there is any

    # -------------------------------------------------------------- coming

    def join(self, guests: Sequence[G]) -> list[Seat]:
        """These rows take part from the next step on. Raises `FullError` where there is no room for all of them: then
        none has joined, as after any other error."""
        self.check(guests)
        rows_R = self.table.join(len(guests))
        try:
            self.positions_B[rows_R] = torch.tensor([guest.positions for guest in guests])
            self.enter(rows_R, guests)
        except BaseException:
            self.go(rows_R)
            raise
        self.recount()
        return self.seats(rows_R)

    def adopt(self, guests: Sequence[G]) -> list[Seat]:
        """All rows that were prepared on the very table of this one, in their order, take part where they are: nothing
        is copied, and they are not what they were any more."""
        rows_R = self.table.taken
        self.positions_B[rows_R] = torch.tensor([guest.positions for guest in guests])
        self.enter(rows_R, guests)
        self.recount()
        return self.seats(rows_R)

    def check(self, guests: Sequence[G]) -> None:
        """Raises `FullError` where there is no room for these rows."""
        width, taken = self.table.width, int(self.positions_B[self.table.taken_B].sum())
        for guest in guests:
            if guest.positions > width:
                raise FullError(f"a row of {guest.positions} positions joins a table of rows of {width}")
        free = self.table.slots - int(self.table.taken_B.sum())
        if len(guests) > free:
            raise FullError(f"{len(guests)} rows join a table with {free} free slots of {self.table.slots}")
        more, most = sum(guest.positions for guest in guests), self.budget.positions
        if most is not None and taken + more > most:
            raise FullError(f"rows of {more} positions join {taken} that are taken, of {most}")

    @abstractmethod
    def enter(self, rows_R: torch.Tensor, guests: Sequence[G]) -> None:
        """Fills the columns of rows that join."""

    # -------------------------------------------------------------- steps

    @torch.inference_mode()
    def step(self, seats: Sequence[Seat] | None = None) -> Passed:
        """One pass of the network, for the rows that need one; with `seats` for these alone, of which those that have
        ended need none. Raises `PassError`, and `GoneError` for a row that has left."""
        if seats is not None:
            self.slots(seats)
        before = self.save()
        try:
            return self.passed(seats)
        except BaseException as error:
            self.undo(before)
            if isinstance(error, Exception):
                raise PassError(self.seats(self.going(seats)), error) from error
            raise

    def steps(self) -> Iterator[Passed]:
        """Step by step until all rows are done, for a caller within `torch.inference_mode`. What a pass raises is
        raised itself, and nothing is undone: nobody is to go on."""
        while self.running:
            yield self.passed(None)

    def passed(self, seats: Sequence[Seat] | None) -> Passed:
        took, ended = self.advance(seats)
        return Passed(took, self.events(), ended)

    @abstractmethod
    def advance(self, seats: Sequence[Seat] | None) -> tuple[tuple[Seat, ...], tuple[Seat, ...]]:
        """A step of these rows, or all: those that took part in a pass, and those that are done, told to `end`."""

    def save(self) -> Any:
        """What `undo` needs to know of now."""
        return self.table.save(), self.canvas.passes

    def undo(self, before: Any) -> None:
        """Makes all as it was before the pass that raised."""
        saved, self.canvas.passes = before
        self.table.restore(saved)
        self.canvas.log.clear()
        self.recount()

    def going(self, seats: Sequence[Seat] | None) -> torch.Tensor:
        """The rows of these, or of all, that are not done."""
        if seats is None:
            return self.live_R
        rows_R = self.slots(seats)
        return rows_R[~self.over_B[rows_R]]

    def events(self) -> Events:
        """What the step did."""
        return self.canvas.tell()

    def write(self) -> None:
        """Brings the canvas up to date, for who reads it between steps."""

    def end(self, rows_R: torch.Tensor) -> None:
        """Rows are done."""
        self.over_B[rows_R] = True
        self.recount()

    def recount(self) -> None:
        """Rows have joined, ended or left."""
        self.live_R = (self.table.taken_B & ~self.over_B).nonzero().flatten()
        self.running = len(self.live_R) > 0

    # -------------------------------------------------------------- going

    def leave(self, seats: Sequence[Seat]) -> None:
        """Rows go, done or not, and their slots are free. Raises `GoneError` where one has gone before."""
        if seats:
            self.go(self.slots(seats))

    def cancel(self, seat: Seat) -> None:
        """A row goes before its end. Raises `GoneError` where it has been cancelled, has left, or has ended."""
        (row,) = self.slots([seat]).tolist()
        if self.over_B[row]:
            raise GoneError(f"the row in slot {row} has ended; it cannot be cancelled, only leave")
        self.leave([seat])

    def go(self, rows_R: torch.Tensor) -> None:
        self.table.leave(rows_R)
        self.recount()
        self.exit(rows_R)

    @abstractmethod
    def exit(self, rows_R: torch.Tensor) -> None:
        """Forgets rows whose slots are free."""

    # -------------------------------------------------------------- seats

    def seats(self, rows_R: torch.Tensor) -> list[Seat]:
        """Of the rows in these slots."""
        if not len(rows_R):
            return []
        generations = self.table.generation_B[rows_R].tolist()
        return [Seat(*seat) for seat in zip(rows_R.tolist(), generations, strict=True)]

    def slots(self, seats: Sequence[Seat]) -> torch.Tensor:
        """[R]. Raises `GoneError` where one of them holds another row by now, or none."""
        rows_R = torch.tensor([seat.slot for seat in seats], dtype=torch.int64)
        still_R = self.table.still(rows_R, torch.tensor([seat.generation for seat in seats], dtype=torch.int64))
        if not still_R.all():
            slot, generation = seats[int((~still_R).nonzero()[0])]
            raise GoneError(f"the row in slot {slot} (generation {generation}) has left or was cancelled before")
        return rows_R
