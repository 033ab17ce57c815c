"""The choice of settings, and the answer, from rows made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.experiments.speed.outcome import (
    ELSEWHERE,
    SLOW,
    Target,
    answer,
    beaten,
    choices,
    choose,
    finalists,
    takes_at_most,
    targets,
)

from .conftest import quick_plan

PLAN = quick_plan()
FIRST = Target("batch 1", "1", 1.0)


def row(
    setting: str, gap: float | None, time: float | None, half: float = 0.05, role: str = "mdm-large",
    batch_8: float | None = None, tokens: float = 5.0,
) -> dict[str, Any]:  # fmt: skip
    ends = None if gap is None else {"estimate": gap, "low": gap - half, "high": gap + half}
    ratios = {"1": None if time is None else {"median": time}, "8": None if batch_8 is None else {"median": batch_8}}
    common = {"estimate": 9.0 if gap is None else gap, "low": 0, "high": 1}
    both = {"over_templates": ends, "over_seeds": {"estimate": gap, "low": None, "high": None}, "gap_common": common}
    why = {"why": "its frontier reaches 10% of the window"}
    speed = {"passes": 9.0, "tokens_per_pass": tokens}
    return {"role": role, "setting": setting, **speed, "time": ratios, "gap": ends, **both, **why}


ROWS = [row("slow", -0.3, 3.0), row("even", 0.1, 1.0, batch_8=2.0), row("fast", 0.2, 0.5, batch_8=0.9, tokens=9.0)]
ROWS += [row("bad", 0.4, 0.6), row("odd", None, 0.1)]


def test_the_best_at_no_more_time_is_chosen_on_the_survey_for_every_target() -> None:
    assert choose(ROWS, "mdm-large", FIRST) == {"setting": "even", "why": None}
    assert choose(ROWS[:1], "mdm-large", FIRST) == {"setting": None, "why": SLOW}
    assert choose(ROWS[4:], "mdm-large", FIRST) == {"setting": None, "why": ELSEWHERE}, "fast, but out of the window"
    assert not takes_at_most(row("x", 0.1, None), "1")
    labels = [(t.label, t.batch, t.limit) for t in targets(PLAN)]
    assert labels == [("batch 1", "1", 1), ("batch 8", "8", 1), ("at_0.71", "1", 0.71), ("at_1.4", "1", 1.4)]
    found = choices(ROWS, PLAN)["mdm-large"]
    names = {label: choice["setting"] for label, choice in found.items()}
    assert names == {"batch 1": "even", "batch 8": "fast", "at_0.71": "fast", "at_1.4": "even"}


def test_all_that_were_chosen_are_tested_then_those_that_none_beats() -> None:
    assert finalists(ROWS, "mdm-large", PLAN) == ["even", "fast"]
    assert finalists(ROWS, "mdm-large", quick_plan("finalists=9")) == ["even", "fast", "slow"]
    assert finalists(ROWS, "mdm-large", quick_plan("finalists=1")) == ["even", "fast"], "none that was chosen is left"
    assert finalists(ROWS[4:], "mdm-large", PLAN) == ["odd"], "without a gap by the entropies in common"
    plan = quick_plan("finalists=1", "limits=[0.1]")
    small = [row("a", -0.1, 0.9, role="mdm"), row("b", -0.3, 2.0, role="mdm"), row("c", 0.3, 0.5, role="mdm")]
    assert plan.most_finalists("mdm") == 2 and finalists(small, "mdm", plan) == ["a", "b"]
    small.append(row("d", 0.9, 0.8, role="mdm", tokens=12.0))
    assert finalists(small, "mdm", plan) == ["a", "d"], "the one of the most tokens a pass, for the area"


def chosen(**names: str | None) -> dict[str, dict[str, dict[str, str | None]]]:
    whys = (SLOW, ELSEWHERE)
    return {role.replace("_", "-"): {"batch 1": {"setting": None, "why": name} if name in whys
            else {"setting": name, "why": None}} for role, name in names.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "names", "expected"),
    [
        ([row("a", -0.2, 0.9)], {"mdm_large": "a"}, ("yes", True)),
        ([row("a", -0.2, 0.9, half=0.3)], {"mdm_large": "a"}, ("no", False)),
        ([row("a", 0.2, 0.9)], {"mdm_large": "a"}, ("no", True)),
        ([row("a", -0.2, 0.9), row("b", 0.2, 0.9, role="mdm")], {"mdm_large": "a", "mdm": "b"}, ("yes", True)),
        ([row("a", None, 0.9)], {"mdm_large": "a"}, ("no", False)),
        ([], {"mdm_large": SLOW}, ("no", True)),
        ([], {"mdm_large": ELSEWHERE}, ("no", False)),
        ([row("a", 0.2, 0.9)], {"mdm_large": "a", "mdm": SLOW}, ("no", True)),
    ],
)
def test_yes_needs_all_intervals_below_zero(rows: Any, names: Any, expected: tuple[str, bool]) -> None:
    found = answer(rows, chosen(**names), FIRST, 1)
    assert (found["answer"], found["decided"]) == expected and found["words"]


def test_templates_that_disagree_decide_neither_yes_nor_no() -> None:
    for gap in (-0.2, 0.2):
        one = row("a", gap, 0.9)
        one["over_templates"] = {"estimate": gap, "low": -0.9, "high": 0.9}
        found = answer([one], chosen(mdm_large="a"), FIRST, 1)
        assert (found["answer"], found["decided"]) == ("no", False)
        found = answer([row("a", gap, 0.9)], chosen(mdm_large="a"), FIRST, 3)
        assert (found["answer"], found["decided"]) == ("no", False), "no interval over seeds"


def test_a_further_judge_must_give_the_same_sign() -> None:
    for gap, expected in ((-0.2, ("yes", True)), (0.2, ("no", True))):
        one, same, other = ([row("a", value, 0.9)] for value in (gap, gap / 9, -gap))
        found = answer(one, chosen(mdm_large="a"), FIRST, 1, same)
        assert (found["answer"], found["decided"]) == expected and "under the further judge" in found["words"]
        for further in (other, [], [row("a", None, 0.9)]):
            found = answer(one, chosen(mdm_large="a"), FIRST, 1, further)
            assert (found["answer"], found["decided"]) == ("no", False)


def test_a_point_is_beaten_by_one_that_is_no_worse_in_both() -> None:
    theirs = [{"entropy": 3.4, "perplexity": 40.0}, {"entropy": 3.6, "perplexity": 60.0}]
    low, between, better = ({"entropy": e, "perplexity": p} for e, p in ((2.8, 41.0), (3.5, 60.0), (3.5, 59.0)))
    assert beaten([low, between], theirs) == 1 and beaten([low, better], theirs) == 0.5
    assert beaten(theirs, theirs) == 1, "equals, too"
