"""The shipped plan, its settings, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from unmask.decoding.rules.orders import ORDERS
from unmask.errors import UserError
from unmask.experiments.frame import Settings
from unmask.experiments.speed.plan import plan_of, settings_of


@pytest.mark.parametrize("size", ["quick", "usual", "full"])
def test_the_shipped_plans_hold(size: str) -> None:
    plan = plan_of(Settings(Path("out"), quick=size == "quick", full=size == "full"))
    settings = plan.settings("mdm-large")
    assert len({setting.name for setting in settings}) == len(settings)
    assert {setting.options["order"] for setting in settings} <= set(ORDERS)
    assert any("steps" not in setting.options for setting in settings), "some end when they are sure"
    assert len(plan.templates) >= 3 and set(plan.bases) == {"arm", "mdm", "mdm-large", "arm-equal"}
    assert len(plan.settings("mdm")) < len(settings) and plan.settings("arm") == plan.settings("arm-equal")
    assert plan.settings("arm")[0].options == {} and plan.masked() == ["mdm", "mdm-large"]
    assert plan.kind("arm-equal-1") == "arm"
    if size == "usual":
        steps = {s.options.get("steps") for s in settings if s.options["order"] == "confidence"}
        assert 8 in steps, "as many passes as the ARM's time buys"
    assert plan.prompt("colon", "a{b}") == "a{b}:"


def test_steps_follow_from_tokens_a_step() -> None:
    found = settings_of({"name": "x", "order": "random", "tokens_a_step": [1, 4, 5, 48, 99]}, 48)
    assert [setting.options["steps"] for setting in found] == [48, 12, 10, 1], "the same number once"
    (two,) = settings_of({"name": "t", "order": "confidence", "quota": "threshold", "values": [0.5]}, 48)
    assert two.name == "t 0.5" and two.options["quota"] == "threshold:0.5" and two.call(48) == two.options


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("templates.colon=word", "templates.colon is 'word'; it must hold {word} once"),
        ("temperatures=[1.0]", "a frontier is no single point"),
        ("rounds=0", "rounds is 0; give at least 1"),
        ("test_words=1", "test_words is 1; give at least 2"),
        ("rules=[{name: x, order: random}]", "'x' has neither tokens_a_step nor values"),
        ("rules=[{name: x, order: random, tokens_a_step: [2]}, {name: x, order: margin, tokens_a_step: [2]}]", "twice"),
        ("rules=[{name: x, order: confidense, tokens_a_step: [2]}]", "rules: 'x, 24 steps': order 'confidense' is unk"),
        ("rules=[{name: x, order: entropy, quota: evn, tokens_a_step: [2]}]", "quota 'evn' is unknown"),
        ("rules=[{name: x, ordr: random, tokens_a_step: [2]}]", "'x, 24 steps' has ordr .did you mean 'order'"),
        ("rules=[{name: x, order: random, values: [2]}]", "'x' has values and no quota"),
        ("rules=[{order: random, values: [2]}]", "has no name"),
        ("window=[0.1, 0.2]", "give two ends about 0"),
        ("batches=[1, 1]", "each once"),
        ("limits=[]", "limits is "),
    ],
)
def test_a_plan_that_cannot_be(change: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan_of(Settings(Path("out"), changes=(change,)))


def test_three_templates_at_least() -> None:
    plan = plan_of(Settings(Path("out")))
    with pytest.raises(UserError, match="rankings need at least 3"):
        dataclasses.replace(plan, templates={"a": "{word}", "b": "{word}:"})
