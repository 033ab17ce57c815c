"""Gaps of held-out text: the ways to fill them, and their time."""

from __future__ import annotations

import pytest

from unmask.bench.decode.gaps import gap_settings, seconds
from unmask.errors import UserError


@pytest.mark.parametrize("span", [1, 2, 3, 8])
def test_no_two_settings_of_a_span_are_the_same(span: int) -> None:
    settings = gap_settings(span)
    assert len({setting.name for setting in settings}) == len(settings)
    calls = [tuple(sorted(setting.options.items())) for setting in settings]
    assert len(set(calls)) == len(calls)
    steps = [setting.options["steps"] for setting in settings if "steps" in setting.options]
    assert set(steps) <= {1, -(-span // 2), span}


def test_the_second_of_two_calls_is_timed() -> None:
    calls: list[int] = []
    assert seconds(lambda: calls.append(1)) >= 0 and len(calls) == 2


def test_what_is_refused_says_that_it_was_a_gap() -> None:
    def refuses() -> None:
        raise UserError("--steps is 9; give at most 3")

    with pytest.raises(UserError, match="^gaps: --steps is 9"):
        seconds(refuses)
