"""Arms in turns, in an order that moves."""

from __future__ import annotations

import pytest

from unmask.bench.kit.turns import in_turns, moved


def test_the_order_moves_and_each_arm_has_each_place_once() -> None:
    assert [moved("abc", shift) for shift in (0, 1, 2, 3, 7)] == [[*"abc"], [*"bca"], [*"cab"], [*"abc"], [*"bca"]]


def test_a_round_is_a_turn_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []
    times = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, "chain rule")
    assert calls == ["a", "b", "b", "a"]
    assert list(times) == ["a", "b"] and all(found.shape == (2,) and (found >= 0).all() for found in times.values())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[1].startswith("bench: chain rule, round 2 of 2: a ")
