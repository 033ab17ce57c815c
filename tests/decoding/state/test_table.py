"""Slots, columns and generations; and that no row sees what its slot's tenant before left behind."""

from __future__ import annotations

import random
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.test_invariants import MODEL, NAMES, Request, requests
from unmask.decoding import Generation, generate
from unmask.decoding.generation import results
from unmask.decoding.loop import Loop
from unmask.decoding.prepare import prepare
from unmask.decoding.state.rows import Budget
from unmask.decoding.state.table import Table


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def test_a_row_begins_with_the_fill_of_every_column() -> None:
    table = Table(slots=3, width=4)
    tick_B, held_BL = table.rows("tick", torch.int64), table.positions("held", torch.float64, -1.0)
    since_B2, names = table.rows("since", torch.int64, 7, (2,)), table.objects("names", list)
    assert table.join(2).tolist() == [0, 1]
    tick_B[0], held_BL[0], since_B2[0, 1] = 5, 3.0, 1
    names[0].append("a")
    table.leave(rows(0))
    assert names[0] == []  # objects go with their row
    assert table.join().tolist() == [0] and table.taken.tolist() == [0, 1]
    assert (int(tick_B[0]), held_BL[0].tolist(), since_B2[0].tolist(), names[0]) == (0, [-1.0] * 4, [7, 7], [])


def test_who_asks_again_gets_the_same_column() -> None:
    table = Table(2, 4)
    assert table.positions("held", torch.int64) is table.positions("held", torch.int64)


def test_a_full_table_and_an_empty_slot_say_so() -> None:
    table = Table(2, 4)
    table.join(2)
    with pytest.raises(RuntimeError, match="1 rows join a table with 0 free slots of 2"):
        table.join()
    table.leave(rows(1))
    with pytest.raises(RuntimeError, match="slot 1 holds no row"):
        table.leave(rows(0, 1))
    assert table.taken.tolist() == [0]


def test_a_late_result_never_reaches_the_next_tenant() -> None:
    table = Table(2, 4)
    rows_R = table.join(2)
    asked_R = table.generation_B[rows_R]
    assert table.still(rows_R, asked_R).tolist() == [True, True]
    table.leave(rows(0))
    assert table.still(rows_R, asked_R).tolist() == [False, True]
    assert table.join().tolist() == [0]
    assert table.still(rows_R, asked_R).tolist() == [False, True]


def test_room_is_taken_by_those_who_read_alone() -> None:
    table = Table(slots=8, width=4)
    logp = table.sparse("logp", torch.float32, 5, torch.device("cpu"))
    table.join(8)
    assert logp.values.shape == (0, 4, 5)
    logp.take(rows(6))
    logp.values[logp.place_B[6]] = 1.0
    logp.take(rows(2, 6))  # one of them has its place already
    assert logp.values.shape == (2, 4, 5) and logp.place_B.tolist() == [-1, -1, 1, -1, -1, -1, 0, -1]
    assert float(logp.values[0].sum()) == 20.0  # what stood there stays when room is added
    table.leave(rows(6))
    logp.take(rows(0))
    assert int(logp.place_B[0]) == 0 and logp.values.shape == (2, 4, 5)
    logp.take(rows(1))
    assert logp.values.shape == (4, 4, 5)


# ------------------------------------------------------------------ the list of columns is complete


def alone(request: Request, seed: tuple[int, int]) -> Generation:
    return generate(MODEL, [request["prompt"]], seed=[seed], **{name: request[name] for name in NAMES})[0]


@settings(max_examples=60)
@given(asked=st.lists(requests(), min_size=2, max_size=6), slots=st.integers(1, 3), seed=st.integers(0, 2**30))
def test_slots_are_used_again_as_if_they_were_new(asked: list[Request], slots: int, seed: int) -> None:
    """Whatever was written in a slot before, by whichever rules: the next row writes what it writes alone."""
    loop = Loop(MODEL, Budget(slots, MODEL.config.block_size))
    order = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while asked:
            some = [asked.pop() for _ in range(min(len(asked), order.randint(1, slots)))]
            seeds = [(seed, order.randrange(5)) for _ in some]
            columns = {name: [request[name] for request in some] for name in NAMES}
            rows = prepare(MODEL, [request["prompt"] for request in some], columns, seed=seeds)
            seats = loop.join(rows)
            while loop.running:
                loop.step()
            slots_, stretches = [seat.slot for seat in seats], [row.stretches for row in rows]
            found = results(loop.canvas, MODEL, loop.endings.surplus, slots_, stretches)
            assert found == [alone(request, drawn) for request, drawn in zip(some, seeds, strict=True)]
            loop.leave(seats)
