"""Rules and their numbers as options write them."""

from __future__ import annotations

import sys

import pytest

from decoding.oracle import SHARP, oracle
from unmask.decoding import generate, rules
from unmask.decoding.rules.orders import ORDERS
from unmask.decoding.rules.quotas import QUOTAS
from unmask.decoding.rules.registry import Parameter, choose
from unmask.decoding.rules.revise import REVISIONS
from unmask.errors import UserError


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("klass", {"threshold": 0.9, "kl": 0.01, "history": 2}),
        ("klass:0.8", {"threshold": 0.8, "kl": 0.01, "history": 2}),
        ("klass:0.8,0.1,3", {"threshold": 0.8, "kl": 0.1, "history": 3}),
        ("klass:kl=0.5,threshold=1", {"threshold": 1.0, "kl": 0.5, "history": 2}),
        ("threshold:", {"threshold": 0.9}),
    ],
)
def test_ways_to_write_a_rule(spec: str, values: dict[str, float]) -> None:
    chosen = choose("quota", QUOTAS, spec)
    assert dict(chosen.values) == values
    again = choose("quota", QUOTAS, chosen.spec)
    assert again == chosen and dict(again.values) == values


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("thresold:0.9", "quota 'thresold' is unknown.*did you mean 'threshold'.*give one of paper, even, threshold"),
        ("threshold:high", r"quota threshold: threshold is high; give a number in \(0, 1\]"),
        ("threshold:0.5,0.6", "quota threshold has no '0.6'; it takes threshold"),
        ("paper:1", "quota paper has no '1'; it takes no value"),
        ("factor:0", "factor is 0; give a number above 0"),
        (None, "quota 'None' is unknown"),
    ],
)
def test_bad_rules(spec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose("quota", QUOTAS, spec)


def test_every_default_lies_in_its_range() -> None:
    for registry in (QUOTAS, REVISIONS):
        for rule in registry.values():
            for name, parameter in rule.parameters().items():
                assert parameter.check(name, parameter.default) == parameter.default


def test_ranges_in_words() -> None:
    assert Parameter(1).range == "a number of at least 0"
    assert Parameter(1, 0, 1, above=True).range == "a number in (0, 1]"
    assert Parameter(1, 1, whole=True).range == "a whole number of at least 1"


def test_a_file_in_the_folder_is_found(tmp_path, monkeypatch) -> None:
    """A new rule is one new file: nothing else names it."""
    (tmp_path / "last.py").write_text(
        "import torch\n"
        "from unmask.decoding.rules.orders import ORDERS, Order\n\n\n"
        '@ORDERS.register("last")\n'
        "class Last(Order):\n"
        "    def priority(self, turn, answers):\n"
        "        return torch.arange(turn.open_RL.shape[1]).double().expand(turn.open_RL.shape)\n"
    )
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    try:
        rules.discover()
        (g,) = generate(oracle(SHARP, context=64), [[1]], length=5, order="last", quota="even")
        assert g.steps == [4, 3, 2, 1, 0]
    finally:
        ORDERS.pop("last", None)
        sys.modules.pop("unmask.decoding.rules.last", None)
