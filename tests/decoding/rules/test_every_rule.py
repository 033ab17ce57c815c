"""What holds of every registered rule, a new one too: a row writes in any batch what it writes alone.

Rows of one rule, at lengths, blocks, steps, temperatures and caches of their own, beside rows of other rules, on the
oracle to the last bit; prompts are left alone, no mask is left, passes are bounded by steps. A number out of a rule's
range is refused in one line.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.oracle import Chain, oracle
from unmask.decoding import Generation, generate
from unmask.decoding.rules import ORDERS, REGISTRIES
from unmask.errors import UserError

V, EOS = 5, 0
MODEL = oracle(Chain.of_offsets(V, [0.5, 0.3, 0.15], 0.02), context=24, eos_id=EOS)
RULES = [(kind, name) for kind, registry in REGISTRIES.items() if kind != "statistic" for name in registry]
Row = dict[str, Any]


@st.composite
def rows(draw: st.DrawFn, kind: str, name: str) -> Row:
    """A prompt and options with this rule, and what goes with it."""
    rule: Any = REGISTRIES[kind][name]
    length = draw(st.integers(1, 12))
    row: Row = {"prompt": draw(st.lists(st.integers(1, V), max_size=6)), "length": length, kind: name}
    row["temperature"] = draw(st.sampled_from([0.0, 0.7, 1.0]))
    row["eos"] = draw(st.sampled_from(["fill", "truncate", "stop"]))
    row["cache"] = draw(st.sampled_from([None, "reuse", "dual", "prefix:1"]))
    row["seed"] = draw(st.tuples(st.integers(0, 99), st.integers(0, 3)))
    if kind != "eligible":
        row["block"] = draw(st.sampled_from([None, None, 3, 5]))
    if kind == "guidance_schedule":
        row["guidance"] = draw(st.sampled_from([0.5, 1.0]))
    if kind == "revise":
        row["order"] = "confidence" if rule.needs_scores else draw(st.sampled_from(["ancestral", "confidence"]))
    elif kind != "order":
        row["order"] = draw(st.sampled_from(["confidence", "margin", "left-to-right"]))
    if not ORDERS[row["order"]].own_quota and kind != "quota":
        fixed = kind == "revise" and rule.needs_steps
        row["quota"] = draw(st.sampled_from(["even", "paper"] if fixed else ["even", "paper", "threshold:0.5"]))
    if not ORDERS[row["order"]].one_by_one:
        blocks = math.ceil((length + row["prompt"].count(V)) / (row.get("block") or 100))
        row["steps"] = draw(st.one_of(st.none(), st.integers(max(blocks, length), length + 8)))
    return row


def together(some: list[Row]) -> list[Generation]:
    names = sorted({name for row in some for name in row} - {"prompt"})
    usual = {"guidance": 0.0}
    columns = {name: [row.get(name, usual.get(name)) for row in some] for name in names}
    return generate(MODEL, [row["prompt"] for row in some], **columns)


def fields(g: Generation) -> tuple[object, ...]:
    return g.tokens, g.steps, g.probabilities, g.trace, g.nfe, g.stopped, g.positions, g.computed, g.seed


@pytest.mark.filterwarnings("ignore:guidance has no effect")
@pytest.mark.parametrize(("kind", "name"), RULES, ids=[" ".join(rule) for rule in RULES])
@given(data=st.data())
@settings(max_examples=8)
def test_a_row_writes_in_a_batch_what_it_writes_alone(kind: str, name: str, data: st.DataObject) -> None:
    some = data.draw(st.lists(rows(kind, name), min_size=1, max_size=3))
    for other in data.draw(st.lists(st.sampled_from(RULES), max_size=3)):
        some.append(data.draw(rows(*other)))
    some = data.draw(st.permutations(some))
    found = together(some)
    for row, g in zip(some, found, strict=True):
        assert fields(g) == fields(together([row])[0]), row
        told = [token for token in row["prompt"] if token != V]
        kept = [token for at, token in enumerate(g.canvas) if at not in g.positions]
        assert kept[len(kept) - len(told) :] == told
        assert g.stopped not in ("length", "filled") or all(0 <= token < V for token in g.canvas)
        if row.get("steps") and "revise" not in row and not row.get("guidance"):
            assert g.nfe <= row["steps"], row


@pytest.mark.parametrize(("kind", "name"), [rule for rule in RULES if rule[0] in ("order", "quota", "eligible")])
def test_a_rule_that_names_no_chance_chooses_the_same_under_any_seed(kind: str, name: str) -> None:
    """So that `duel` may ask it; at temperature 0 nothing else is drawn."""
    rule: Any = REGISTRIES[kind][name]
    row: Row = {"length": 10, "steps": 7, "temperature": 0.0, "order": "margin", **{kind: name}}
    if ORDERS[row["order"]].one_by_one:
        del row["steps"]
    several = [generate(MODEL, [[1]], seed=seed, **row)[0] for seed in range(6)]
    assert rule.chance or len({(tuple(g.tokens), tuple(g.steps)) for g in several}) == 1
    assert not rule.chance or len({tuple(g.steps) for g in several}) > 1


@pytest.mark.parametrize(("kind", "name"), RULES, ids=[" ".join(rule) for rule in RULES])
def test_a_number_out_of_its_range_is_refused(kind: str, name: str) -> None:
    rule: Any = REGISTRIES[kind][name]
    usual: Row = {} if kind == "order" else {"order": "confidence"}
    for key, parameter in rule.parameters().items():
        bad = [parameter.low - 1, *([parameter.low] if parameter.above else [])]
        bad += [parameter.high + 1] if math.isfinite(parameter.high) else []
        bad += [parameter.low + 1.5] if parameter.whole else []
        for value in bad:
            with pytest.raises(UserError, match=rf"^{kind} {name}: {key} is .*; give a (whole )?number") as caught:
                generate(MODEL, [[1]], length=4, **usual, **{kind: f"{name}:{key}={value}"})
            assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=f"^{kind} {name} has no 'wibble'; it takes "):
        generate(MODEL, [[1]], length=4, **usual, **{kind: f"{name}:wibble=1"})
