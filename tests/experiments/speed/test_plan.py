"""The shipped plan, its settings, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.decoding.orders import ORDERS
from unmask.errors import UserError
from unmask.experiments.speed.plan import adaptive, read_plan, settings_of


@pytest.mark.parametrize("quick", [False, True])
def test_the_shipped_plans_hold(quick: bool) -> None:
    plan = read_plan(quick)
    settings = plan.settings()
    assert len({setting.name for setting in settings}) == len(settings)
    assert {setting.options["order"] for setting in settings} <= set(ORDERS)
    assert any(map(adaptive, settings)) and len(plan.templates) >= 3 and set(plan.bases) == {"arm", "mdm", "mdm-large"}
    assert plan.seeds == (1 if quick else 3)
    assert plan.prompt("colon", "a{b}") == "a{b}:"


def test_steps_follow_from_tokens_a_step() -> None:
    found = settings_of({"name": "x", "order": "random", "tokens_a_step": [1, 4, 5, 48, 99]}, 48)
    assert [setting.options["steps"] for setting in found] == [48, 12, 10, 1], "the same number once"
    (two,) = settings_of({"name": "t", "order": "confidence", "quota": "threshold", "values": [0.5]}, 48)
    assert two.name == "t 0.5" and two.options["quota"] == "threshold:0.5" and two.call(48) == two.options


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"templates": {"a": "{word}", "b": "{word}:"}}, "rankings need at least 3"),
        ({"templates": {"a": "{word}", "b": "word", "c": "{word}."}}, "templates.b is 'word'; it must hold"),
        ({"temperatures": [1.0]}, "a frontier is no single point"),
        ({"seeds": 0}, "seeds is 0"),
        ({"sedes": 1}, r"'sedes' is no setting of the experiment speed \(did you mean 'seeds'\?\)"),
        ({"rules": [{"name": "x", "order": "random"}]}, "'x' has neither tokens_a_step nor values"),
        ({"rules": [{"name": "x", "order": "random", "tokens_a_step": [2]}] * 2}, "'x, 24 steps' is given twice"),
    ],
)
def test_a_plan_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_plan(changes=changes).settings()
