"""The table: a slot for each row, and a column for whatever is remembered of a row or of its positions.

    table = Table(slots=8, width=256)
    tick_B = table.rows("tick", torch.int64)                       # [slots]
    held_BL = table.positions("held", torch.int64)                 # [slots, width]
    seeds = table.objects("seeds", lambda: (0, 0))                 # a list of Python objects
    logp = table.sparse("logp", torch.float32, vocab_size, device) # room only for rows that take it
    rows_R = table.join(2)                                         # slots, reset in every column
    table.put(row, other)                                          # what another table's first row holds
    table.splice(row, from_L)                                      # its positions move: a token more or less
    table.restore(before := table.save())                          # as it was before a pass
    table.leave(rows_R)                                            # free again

Whoever remembers something asks for a column by name; who asks again gets the same one. So `join` and `leave` are the
only places where a row begins and ends, and what a slot's tenant before left behind is never seen. Slots are fixed:
nothing is compacted or sorted, and shapes stay. A slot has a generation, which grows when its row leaves: whoever comes
late with something for a row tells by it whether the row still is the same (`still`).

Columns are read and written as the tensors they are, by indices of slots. Those that are `fixed` are written when a row
joins and not by a pass, so that `save` leaves them out; those with `drops` forget a row whose positions move. An object
of a column is replaced in a pass, not changed.

Shapes: B slots, L positions, R rows, P places of a sparse column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch


class FullError(RuntimeError):
    """Rows for which there is no room; the line says of what there is none."""


class Column(Protocol):
    """What the table does to every column."""

    def reset(self, rows_R: torch.Tensor) -> None:
        """Rows begin."""

    def free(self, rows_R: torch.Tensor) -> None:
        """Rows end."""

    def put(self, rows: list[int], other: Any, slots: list[int]) -> None:
        """What these slots of the same column of another table hold."""

    def save(self) -> Any:
        """What `restore` brings back; None: nothing."""

    def restore(self, saved: Any) -> None: ...

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        """The row's positions move: what now stands at a place stood at `from_L` of it before; -1: nowhere."""


def span(rows_R: torch.Tensor) -> torch.Tensor | slice:
    """Slots that rise, as a slice where they follow one another: columns are read and written in a fraction of the time
    that an index takes."""
    rows = rows_R.tolist()
    return slice(rows[0], rows[-1] + 1) if rows and rows[-1] - rows[0] + 1 == len(rows) else rows_R


def run(numbers: list[int]) -> list[int] | slice:
    """As `span`, of numbers in any order."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if numbers == list(range(first, last + 1)) else numbers


@dataclass
class Dense:
    """A value for each slot, always."""

    values: torch.Tensor
    fill: float | int | bool
    fixed: bool = False
    per_position: bool = False
    drops: bool = False  # forgets a row whose positions move

    def reset(self, rows_R: torch.Tensor) -> None:
        self.values[rows_R.to(self.values.device)] = self.fill

    def free(self, rows_R: torch.Tensor) -> None:
        pass

    def put(self, rows: list[int], other: Dense, slots: list[int]) -> None:
        if len(rows) == len(self.values) and other.values.shape == self.values.shape and rows == slots:
            self.values.copy_(other.values)  # all of a table of the same shape
            return
        there = other.values[run(slots)]
        if there.ndim > 1 and there.shape[1] != self.values.shape[1]:  # it may be wider, for the sake of other rows
            width = min(there.shape[1], self.values.shape[1])
            self.values[run(rows), :width] = there[:, :width]
        else:
            self.values[run(rows)] = there

    def save(self) -> torch.Tensor | None:
        return None if self.fixed else self.values.clone()

    def restore(self, saved: torch.Tensor) -> None:
        self.values.copy_(saved)

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        if self.drops:
            self.values[row] = self.fill
        elif self.per_position:
            self.values[row] = self.values[row, from_L.clamp(min=0)].masked_fill_(from_L < 0, self.fill)


@dataclass
class Objects:
    """A Python object for each slot; dropped when its row leaves."""

    values: list[Any]
    make: Callable[[], Any]
    fixed: bool = False
    drops: bool = False

    def reset(self, rows_R: torch.Tensor) -> None:
        for row in rows_R.tolist():
            self.values[row] = self.make()

    free = reset

    def put(self, rows: list[int], other: Objects, slots: list[int]) -> None:
        for row, slot in zip(rows, slots, strict=True):
            value = other.values[slot]
            self.values[row] = list(value) if isinstance(value, list) else value

    def save(self) -> list[Any] | None:
        return None if self.fixed else list(self.values)

    def restore(self, saved: list[Any]) -> None:
        self.values[:] = saved

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        if self.drops:
            self.values[row] = self.make()


class Pool:
    """Numbers from 0 on. One that is given back is the next to be handed out, so that no more are in use than were at
    once."""

    def __init__(self) -> None:
        self.given_back: list[int] = []
        self.count = 0  # of numbers that have ever been in use

    @property
    def in_use(self) -> int:
        return self.count - len(self.given_back)

    def take(self) -> int:
        if self.given_back:
            return self.given_back.pop()
        self.count += 1
        return self.count - 1


class Places:
    """Numbers handed out to the rows that take them: where something large lies that only some rows have."""

    def __init__(self, slots: int, pool: Pool | None = None) -> None:
        self.place_B = torch.full((slots,), -1)  # -1: none
        self.pool = Pool() if pool is None else pool

    def take(self, rows_R: torch.Tensor) -> None:
        for row in rows_R.tolist():
            if self.place_B[row] < 0:
                self.place_B[row] = self.pool.take()

    def reset(self, rows_R: torch.Tensor) -> None:
        self.free(rows_R)

    def free(self, rows_R: torch.Tensor) -> None:
        self.pool.given_back += [place for place in self.place_B[rows_R].tolist() if place >= 0]
        self.place_B[rows_R] = -1

    def put(self, rows: list[int], other: Any, slots: list[int]) -> None:
        """A place is this table's own."""

    def save(self) -> None:
        """Places are taken when a row joins."""

    def restore(self, saved: Any) -> None:
        pass

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        """A row keeps its place; what lies there is forgotten by who asked for it."""


class Sparse(Places):
    """Values for those rows only that take a place: `values[place_B[row]]`. Its room doubles when it is full."""

    def __init__(self, slots: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(slots)
        self.values = torch.zeros((0, *shape), dtype=dtype, device=device)

    def take(self, rows_R: torch.Tensor) -> None:
        super().take(rows_R)
        if self.pool.count > (room := len(self.values)):
            more = max(self.pool.count, min(2 * room, len(self.place_B))) - room
            with torch.inference_mode(False):
                added = self.values.new_zeros((more, *self.values.shape[1:]))
                self.values = torch.cat([self.values, added]) if room else added


class Table:
    """Slots and columns; see above."""

    def __init__(self, slots: int, width: int) -> None:
        self.slots, self.width = slots, width
        self.columns: dict[str, Column] = {}
        with torch.inference_mode(False):
            self.taken_B = torch.zeros(slots, dtype=torch.bool)
            self.generation_B = torch.zeros(slots, dtype=torch.int64)

    # -------------------------------------------------------------- columns

    def rows(
        self,
        name: str,
        dtype: torch.dtype,
        fill: float | int | bool = 0,
        shape: tuple[int, ...] = (),
        **more: bool,
    ) -> torch.Tensor:
        """A column of a value, or of `shape` values, a row: [slots, *shape]. more: `fixed`, `drops`."""
        made = self.column(name, lambda: Dense(torch.full((self.slots, *shape), fill, dtype=dtype), fill, **more))
        return cast(Dense, made).values

    def positions(self, name: str, dtype: torch.dtype, fill: float | int | bool = 0, **more: bool) -> torch.Tensor:
        """A column of a value a position: [slots, width]."""
        return self.rows(name, dtype, fill, (self.width,), per_position=True, **more)

    def objects(self, name: str, make: Callable[[], Any], **more: bool) -> list[Any]:
        """A column of Python objects, each made anew for a row that joins."""
        made = self.column(name, lambda: Objects([make() for _ in range(self.slots)], make, **more))
        return cast(Objects, made).values

    def places(self, name: str, pool: Pool | None = None) -> Places:
        """A column of numbers, of their own or from a pool, for the rows that take one."""
        return cast(Places, self.column(name, lambda: Places(self.slots, pool)))

    def sparse(self, name: str, dtype: torch.dtype, size: int, device: torch.device) -> Sparse:
        """A column of `size` values a position, [places, width, size], for the rows that take a place."""
        made = self.column(name, lambda: Sparse(self.slots, (self.width, size), dtype, device))
        return cast(Sparse, made)

    def column(self, name: str, make: Callable[[], Column]) -> Column:
        if (column := self.columns.get(name)) is None:
            if torch.is_inference_mode_enabled():
                with torch.inference_mode(False):  # it may be asked for within a pass and reset outside
                    column = make()
            else:
                column = make()
            self.columns[name] = column
        return column

    # -------------------------------------------------------------- rows

    @property
    def taken(self) -> torch.Tensor:
        """Slots that hold a row, in their order."""
        return self.taken_B.nonzero().flatten()

    def join(self, count: int = 1) -> torch.Tensor:
        """So many free slots, the lowest first, as new in every column. Raises `FullError` where there are fewer."""
        free = (~self.taken_B).nonzero().flatten()
        if len(free) < count:
            raise FullError(f"{count} rows join a table with {len(free)} free slots of {self.slots}")
        rows_R = free[:count]
        self.taken_B[rows_R] = True
        if len(used_R := rows_R[self.generation_B[rows_R] > 0]):  # what no row ever had is as it was made
            for column in self.columns.values():
                column.reset(used_R)
        return rows_R

    def leave(self, rows_R: torch.Tensor) -> None:
        """Frees these rows' slots. Raises `RuntimeError` for a slot that holds none."""
        if not self.taken_B[rows_R].all():
            raise RuntimeError(f"slot {int(rows_R[~self.taken_B[rows_R]][0])} holds no row that could leave")
        self.taken_B[rows_R] = False
        self.generation_B[rows_R] += 1
        for column in self.columns.values():
            column.free(rows_R)

    def still(self, rows_R: torch.Tensor, generation_R: torch.Tensor) -> torch.Tensor:
        """Bool [R]: slots that hold the rows they held in these generations."""
        return self.taken_B[rows_R] & (self.generation_B[rows_R] == generation_R)

    def put(self, rows: list[int], other: Table, slots: list[int]) -> None:
        """Gives rows that have joined what these slots of another table hold, which fit."""
        for name, column in other.columns.items():
            self.columns[name].put(rows, column, slots)

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        """Moves the row's positions in every column, or drops what a column holds of the row (`drops`)."""
        for column in self.columns.values():
            column.splice(row, from_L)

    # -------------------------------------------------------------- a pass that raises

    def save(self) -> dict[str, Any]:
        """What a pass may change of all rows."""
        saved = ((name, column.save()) for name, column in self.columns.items())
        return {name: kept for name, kept in saved if kept is not None}

    def restore(self, saved: dict[str, Any]) -> None:
        """As it was then; columns that are new since hold what they begin with."""
        every = torch.arange(self.slots)
        for name, column in self.columns.items():
            if name in saved:
                column.restore(saved[name])
            elif not getattr(column, "fixed", True):
                column.reset(every)
