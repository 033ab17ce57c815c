"""Rows that come and go: room, seats, cancelled rows, and passes that raise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from decoding.coming_and_going import Schedule, alone, letters, oracle_model, transformer_model
from unmask.decoding.generation import Generation, results
from unmask.decoding.group import Group
from unmask.decoding.loop import Loop
from unmask.decoding.passes.score import place_bytes
from unmask.decoding.prepare import Prepared, prepare
from unmask.decoding.rules.statistics import Drift
from unmask.decoding.state.rows import Budget, GoneError, PassError, Seat
from unmask.decoding.state.table import FullError
from unmask.decoding.twin import Twin
from unmask.model.folder import Model

MODEL, ARM = oracle_model(), transformer_model(causal=True)
KINDS = pytest.mark.parametrize("kind", ["mdm", "arm"])


def made(kind: str, **budget: Any) -> Loop | Twin:
    given = {"slots": 2, "width": 16, **budget}
    return Loop(MODEL, Budget(**given)) if kind == "mdm" else Twin(ARM, Budget(**given))


def rows(kind: str, count: int, **options: Any) -> list[Prepared]:
    return prepare(MODEL if kind == "mdm" else ARM, [[1, 2]] * count, {"length": 6, "eos": "fill", **options})


@KINDS
def test_a_full_table_says_what_is_full(kind: str) -> None:
    """And nobody has joined of those that did not all fit."""
    loop = made(kind, positions=20)
    loop.join(rows(kind, 1))
    with pytest.raises(FullError, match="^2 rows join a table with 1 free slots of 2$"):
        loop.join(rows(kind, 2))
    with pytest.raises(FullError, match="^a row of 17 positions joins a table of rows of 16$"):
        loop.join(rows(kind, 1, length=15))
    with pytest.raises(FullError, match="^rows of 13 positions join 8 that are taken, of 20$"):
        loop.join(rows(kind, 1, length=11))
    assert loop.table.taken.tolist() == [0]
    loop.join(rows(kind, 1, length=10))
    assert loop.table.taken.tolist() == [0, 1]


def test_a_full_cache_is_said_when_a_row_joins() -> None:
    each = place_bytes(MODEL.network, 16)
    loop = made("mdm", slots=4, cache_bytes=3 * each)
    (first,) = loop.join(rows("mdm", 1, cache="dual", guidance=0.5))  # two views
    with pytest.raises(FullError, match=f"need 2 places in the cache join one with 1 free of 3 \\({3 * each:,} bytes"):
        loop.join(rows("mdm", 1, cache="prefix", guidance=0.5))
    loop.join(rows("mdm", 1, cache="prefix") + rows("mdm", 1, guidance=0.5))
    with pytest.raises(FullError, match="a negative prompt of 2 tokens joins a table for 0"):
        loop.join(prepare(MODEL, [[1]], {"length": 4, "guidance": 1.0}, negative=[2, 3]))
    loop.cancel(first)
    loop.join(rows("mdm", 1, cache="dual", guidance=0.5))
    while loop.running:
        loop.step()


def test_a_full_cache_of_the_twin() -> None:
    loop = made("arm", cache_bytes=2 * 2 * 16 * 16 * 4)  # one row: keys and values, layers, width, positions, bytes
    loop.join(rows("arm", 1))
    with pytest.raises(FullError, match="1 rows join a cache with 0 free places of 1"):
        loop.join(rows("arm", 1))


@KINDS
def test_who_raises_while_joining_leaves_no_slot_taken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = made(kind)

    def broken(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("unmask.decoding.passes.score.Scorer.join" if kind == "mdm" else "torch.from_numpy", broken)
        with pytest.raises(MemoryError):
            loop.join(rows(kind, 2))
    assert not len(loop.table.taken) and not loop.running
    loop.join(rows(kind, 2))


@KINDS
def test_a_row_is_cancelled_once_and_before_its_end(kind: str) -> None:
    loop = made(kind)
    first, second = loop.join(rows(kind, 2))
    loop.step()
    loop.cancel(first)
    with pytest.raises(GoneError, match=r"the row in slot 0 \(generation 0\) has left or was cancelled before"):
        loop.cancel(first)
    (third,) = loop.join(rows(kind, 1))
    assert third == Seat(0, 1)
    with pytest.raises(GoneError):  # the slot's next tenant stays
        loop.cancel(first)
    with pytest.raises(GoneError):
        loop.step([first])
    while loop.running:
        ended = loop.step().ended
    assert set(ended) <= {second, third}
    with pytest.raises(GoneError, match="the row in slot 1 has ended; it cannot be cancelled, only leave"):
        loop.cancel(second)
    loop.leave([second, third])
    with pytest.raises(GoneError):
        loop.leave([third])
    assert not loop.running and not loop.step().seats


@KINDS
def test_a_step_without_rows_is_none(kind: str) -> None:
    loop = made(kind)
    assert not loop.running and not loop.step().seats and not len(loop.step([]).events)
    seats = loop.join(rows(kind, 2))
    assert not loop.step([]).seats and loop.canvas.passes == 0
    assert loop.step(seats[1:]).seats == (seats[1],)


def test_what_is_prepared_joins_any_number_of_times() -> None:
    (row,) = prepare(MODEL, [[1, 2]], {"length": 9, "forced": {2: 3}, "order": "entropy", "quota": "klass"}, seed=3)
    loop = Loop(MODEL, Budget(3, 20))
    seats = loop.join([row, row])
    for _ in range(3):
        loop.step()
    seats += loop.join([row])
    while loop.running:
        loop.step()
    found = outcome(loop, MODEL, {seat: row for seat in seats})
    assert found[seats[0]] == found[seats[1]] == found[seats[2]] and row.stage.canvas.trace == [[]]


def outcome(loop: Loop | Twin, model: Model, here: dict[Seat, Prepared]) -> dict[Seat, Generation]:
    loop.write()
    surplus = loop.endings.surplus
    return {
        seat: results(loop.canvas, model, surplus, [seat.slot], [row.stretches])[0] for seat, row in here.items()
    }


# ------------------------------------------------------------------ passes that raise


class Poisoned:
    """Makes a network raise when it sees a row that begins with certain tokens, or in certain passes."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch, when: Callable[[torch.Tensor, int], bool]):
        self.calls, plain = 0, model.network.hidden

        def hidden(tokens: torch.Tensor, **more: Any) -> torch.Tensor:
            self.calls += 1
            found = plain(tokens, **more)
            if when(tokens, self.calls):
                raise ValueError("a poisoned row")
            return found

        monkeypatch.setattr(model.network, "hidden", hidden)


@pytest.mark.parametrize("seed", range(3))
def test_a_pass_that_raises_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of all kinds; the network fails now and then, and what comes after it. The table is as it was, and
    all write what they write alone."""
    schedule = Schedule(MODEL, seed)
    singles = [alone(MODEL, *one) for one in zip(schedule.requests, schedule.seeds, strict=True)]
    loop = Loop(MODEL, Budget(16, 48, negative=3))
    here = dict(zip(loop.join(schedule.rows), schedule.rows, strict=True))
    with monkeypatch.context() as patch:
        chance = random.Random(seed)
        Poisoned(MODEL, patch, lambda *_: chance.random() < 0.2)
        settle = Group.settle

        def settled(*given: Any) -> None:
            settle(*given)
            if chance.random() < 0.05:  # some groups have written by now
                raise ValueError("a poisoned row")

        patch.setattr(Group, "settle", settled)
        failed = 0
        while loop.running:
            before, passes = everything(loop), loop.canvas.passes
            try:
                loop.step()
            except PassError as error:
                failed += 1
                assert "raised ValueError: a poisoned row" in str(error) and error.seats
                after = everything(loop)
                assert {name: after[name] for name in before} == before  # a pass may be the first to need a column
                assert loop.canvas.passes == passes and not loop.canvas.log
    assert failed > 5
    assert list(outcome(loop, MODEL, here).values()) == singles


def everything(loop: Loop | Twin) -> dict[str, Any]:
    """All columns: numbers as bytes, objects by what they are, traces by their length."""
    told: dict[str, Any] = {}
    for name, column in loop.table.columns.items():
        values = getattr(column, "values", None)
        if isinstance(values, torch.Tensor):
            told[name] = values.numpy().tobytes()
        elif values is not None:
            told[name] = [(id(value), len(value) if isinstance(value, list) else 0) for value in values]
        else:
            told[name] = column.place_B.tolist()
    return told


def test_the_rows_at_fault_go_and_the_others_write_what_they_write_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which they are is found by asking each alone."""
    requests = [
        {"length": 12, "order": "confidence", "quota": "klass:threshold=0.5,kl=0.05"},
        {"length": 9, "order": "entropy", "quota": "even", "cache": "reuse", "guidance": 0.5},
        {"length": 9, "order": "ancestral", "steps": 20, "revise": "remdm-cap:0.3"},
        {"length": 12, "order": "margin", "quota": "even", "cache": "dual:3", "block": 4},
        {"length": 12, "order": "confidence", "quota": "threshold:0.7", "revise": "edit:0.5"},
    ]
    prompts = [[1, 2], [5, 5, 1], [3], [2, 2], [4]]
    asked = list(enumerate(zip(prompts, requests, strict=True)))
    singles = [alone(MODEL, {"prompt": prompt, **request}, (9, at)) for at, (prompt, request) in asked]
    prepared = [prepare(MODEL, [prompt], request, seed=[(9, at)])[0] for at, (prompt, request) in asked]
    loop = Loop(MODEL, Budget(5, 20))
    here = dict(zip(loop.join(prepared), range(5), strict=True))
    found: dict[int, Generation] = {}

    def bad(tokens: torch.Tensor, call: int) -> bool:
        return call > 4 and bool((tokens[:, :3] == torch.tensor([5, 5, 1])).all(1).any())

    Poisoned(MODEL, monkeypatch, bad)
    while loop.running:
        try:
            loop.step()
        except PassError as error:
            for seat in error.seats:
                try:
                    loop.step([seat])
                except PassError as again:
                    assert again.seats == (seat,) and here[seat] == 1
                    loop.cancel(seat)
                    del here[seat]
    for seat, at in here.items():
        found |= {at: outcome(loop, MODEL, {seat: prepared[at]})[seat]}
    assert set(found) == {0, 2, 3, 4}
    assert all(found[at] == singles[at] for at in found)


def test_the_twin_goes_on_without_the_row_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poisoned prompts, and a pass that fails for all: nothing of it is seen."""
    requests = [{"prompt": [at, 1], "length": 9 + at, "eos": "fill"} for at in range(4)]
    singles = [alone(ARM, request, (3, at)) for at, request in enumerate(requests)]
    options = [{name: value for name, value in request.items() if name != "prompt"} for request in requests]
    prepared = [prepare(ARM, [[at, 1]], options[at], seed=[(3, at)])[0] for at in range(4)]
    twin = Twin(ARM, Budget(4, 20))
    seats = twin.join(prepared[:2])
    twin.step()
    seats += twin.join(prepared[2:])
    Poisoned(ARM, monkeypatch, lambda tokens, _: bool((tokens[:, 0] == 2).any()))
    with pytest.raises(PassError) as caught:
        twin.step()
    assert set(caught.value.seats) == set(seats)
    twin.cancel(seats[2])
    plain, calls = twin.decode.__class__.__call__, []

    def failing(*given: Any) -> torch.Tensor:
        calls.append(1)
        found = plain(*given)
        if len(calls) % 2:
            raise ValueError("a poisoned pass")
        return found

    monkeypatch.setattr(twin.decode.__class__, "__call__", failing)
    while twin.running:
        try:
            twin.step()
        except PassError as error:
            assert "a poisoned pass" in str(error)
    here = {seats[at]: prepared[at] for at in (0, 1, 3)}
    for at, got in zip((0, 1, 3), outcome(twin, ARM, here).values(), strict=True):
        assert (got.tokens, got.steps, got.nfe, got.computed) == (
            *(singles[at].tokens, singles[at].steps, singles[at].nfe, singles[at].computed),
        )


def test_an_error_of_generate_is_the_networks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from unmask.decoding import generate

    Poisoned(MODEL, monkeypatch, lambda *_: True)
    with pytest.raises(ValueError, match="^a poisoned row$"):
        generate(MODEL, [[1]], length=3)
    assert letters().vocab_size == 8


def test_klass_remembers_rows_that_sit_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows that take turns write what they write alone: a prediction is compared with the row's own last one."""
    options = {"length": 20, "order": "confidence", "quota": "klass:threshold=0.15,kl=0.5", "temperature": 0.0}
    singles = [alone(MODEL, {"prompt": prompt, **options}, (0, at)) for at, prompt in enumerate([[1], [4]])]
    assert all(g.tokens_per_pass > 1.3 for g in singles)  # predictions do hold still

    def in_turns() -> list[Generation]:
        prepared = prepare(MODEL, [[1], [4]], options)
        loop = Loop(MODEL, Budget(2, 24))
        seats, turn = loop.join(prepared), 0
        while loop.running:
            loop.step([seats[turn % 2]])
            turn += 1
        return list(outcome(loop, MODEL, dict(zip(seats, prepared, strict=True))).values())

    assert in_turns() == singles
    # Had a pass counted for all rows, each would fall back to a token a pass.
    monkeypatch.setattr(Drift, "begin", lambda self, _: self.passes_B.add_(1))
    assert all(a.nfe > b.nfe for a, b in zip(in_turns(), singles, strict=True))
