"""The choice of a setting, and the answer, from rows made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.experiments.speed.outcome import answer, choose, finalists, takes_no_longer

from .conftest import quick_plan

PLAN = quick_plan()


def row(setting: str, gap: float | None, time: float | None, half: float = 0.05, role: str = "mdm") -> dict[str, Any]:
    ends = None if gap is None else {"estimate": gap, "low": gap - half, "high": gap + half}
    ratio = None if time is None else {"median": time}
    why = {"why": "they have nothing in common"}
    both = {"over_templates": ends, "over_seeds": {"estimate": gap, "low": None, "high": None}}
    return {"role": role, "setting": setting, "passes": 9.0, "time": {"1": ratio}, "gap": ends, **both, **why}


ROWS = [row("slow", -0.3, 3.0), row("even", 0.1, 1.0), row("fast", 0.2, 0.5), row("bad", 0.4, 0.6)]
ROWS.append(row("odd", None, 0.1))


def test_the_best_at_no_more_time_is_chosen_on_the_survey() -> None:
    assert choose(ROWS, "mdm", PLAN) == "even" and choose(ROWS[:1], "mdm", PLAN) is None
    assert choose(ROWS, "mdm-large", PLAN) is None and not takes_no_longer(row("x", 0.1, None), "1")
    assert finalists(ROWS, "mdm", PLAN) == ["even", "slow"], "then those that none beats in both, as many as asked for"
    assert finalists(ROWS, "mdm", quick_plan("finalists=9")) == ["even", "slow", "fast"]


@pytest.mark.parametrize(
    ("rows", "chosen", "expected"),
    [
        ([row("a", -0.2, 0.9)], {"mdm": "a"}, ("yes", True)),
        ([row("a", -0.2, 0.9, half=0.3)], {"mdm": "a"}, ("no", False)),
        ([row("a", 0.2, 0.9)], {"mdm": "a"}, ("no", True)),
        ([row("a", 0.2, 0.9), row("b", -0.2, 0.9, role="mdm-large")], {"mdm": "a", "mdm-large": "b"}, ("yes", True)),
        ([row("a", None, 0.9)], {"mdm": "a"}, ("no", False)),
        ([], {"mdm": None}, ("no", False)),
    ],
)
def test_yes_needs_all_intervals_below_zero(rows: Any, chosen: Any, expected: tuple[str, bool]) -> None:
    found = answer(rows, chosen, PLAN, 1)
    assert (found["answer"], found["decided"]) == expected and found["words"]


def test_templates_that_disagree_are_no_yes() -> None:
    one = row("a", -0.2, 0.9)
    one["over_templates"] = {"estimate": -0.2, "low": -0.9, "high": 0.5}
    assert answer([one], {"mdm": "a"}, PLAN, 1)["answer"] == "no"
    one = row("a", -0.2, 0.9)
    assert answer([one], {"mdm": "a"}, PLAN, 3)["answer"] == "no", "no interval over seeds"
