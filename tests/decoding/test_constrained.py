r"""Constraints through `generate`: whatever the order, quota, revision or cache, the text keeps to them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.decoding import Generation, generate
from unmask.decoding.generate import infill
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer

TEXT = "On 1790-01-08 the people of the United States; on 1791-12-31, Überfluß for €5 and no more. " * 5
BPE = Tokenizer.train_bpe(330, [TEXT])
DATE = r"\d{4}-\d{2}-\d{2}"
RULES = [
    {},
    {"order": "first-hitting"},
    {"order": "confidence", "quota": "even", "steps": 3},
    {"order": "confidence", "threshold": 0.1},
    {"order": "random", "block": 4, "steps": 4},
    {"order": "margin", "temperature": 0.0, "cache": "dual", "block": 3},
    {"order": "left-to-right", "quota": "even", "guidance": 1.0},
    {"order": "entropy", "revise": "p2", "steps": 6},
    {"order": "ancestral", "revise": "remdm-cap:0.3", "steps": 9},
    {"order": "confidence", "threshold": 0.2, "revise": "edit:0.1"},
]


@pytest.fixture(scope="module")
def mdm(make_model) -> Model:
    return make_model(vocab_size=BPE.vocab_size + 2, tokenizer=BPE, eos_id=0)


@pytest.fixture(scope="module")
def arm(make_model) -> Model:
    return make_model(vocab_size=BPE.vocab_size + 2, tokenizer=BPE, eos_id=0, causal=True)


def ended(g: Generation) -> list[int]:
    """Tokens up to the first end of sequence, behind which there is nothing else."""
    text = g.tokens[: g.tokens.index(0)] if 0 in g.tokens else g.tokens
    assert set(g.tokens[len(text) :]) <= {0}
    return text


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_a_date_in_a_gap(mdm: Model, rules: dict) -> None:
    for g in infill(mdm, ["On ____, the people", "(____)"], gap=8, pattern=DATE, seed=5, **rules):
        assert re.fullmatch(rf"On {DATE}, the people|\({DATE}\)", g.text or ""), g.text
        assert g.stopped == "filled"


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("eos", ["fill", "truncate", "stop", "suppress"])
@pytest.mark.filterwarnings("ignore:guidance has no effect without a prompt")
def test_a_continuation_may_end_early(mdm: Model, rules: dict, eos: str) -> None:
    pattern = r"( [a-z]+)+ €?\d{2}\."
    for g in generate(mdm, ["On", ""], length=14, pattern=pattern, eos=eos, seed=2, **rules):
        assert re.fullmatch(pattern, g.text or ""), g.text
        assert BPE.decode(ended(g)) == g.text
        assert len(g.tokens) == 14 or eos in ("truncate", "stop")
        assert 0 not in g.tokens or eos != "suppress"


@pytest.mark.parametrize("eos", ["fill", "stop", "suppress"])
def test_the_autoregressive_twin_keeps_to_a_pattern(arm: Model, eos: str) -> None:
    for g in generate(arm, ["On", ""], length=14, pattern=r"( [a-z]+)+ €?\d{2}\.", eos=eos, seed=2):
        assert re.fullmatch(r"( [a-z]+)+ €?\d{2}\.", g.text or ""), g.text
        ended(g)


@given(st.data())
@settings(max_examples=60)
def test_rows_with_constraints_of_their_own(mdm: Model, data: st.DataObject) -> None:
    rules = data.draw(st.sampled_from(RULES))
    patterns = [r"[a-z ]*", r"[^a]+", "(é|€|ß)+", r"\W{3,8}", None]
    rows, length = 3, 8
    chosen = [data.draw(st.sampled_from(patterns)) for _ in range(rows)]
    banned = [data.draw(st.lists(st.integers(1, 200), max_size=30)) for _ in range(rows)]
    eos = [data.draw(st.sampled_from(["fill", "truncate", "stop", "suppress"])) for _ in range(rows)]
    options = {"length": length, "pattern": chosen, "banned": banned, "eos": eos, **rules}
    try:
        found = generate(mdm, ["We"] * rows, seed=data.draw(st.integers(0, 99)), **options)
    except UserError as error:
        assert "cannot be written" in str(error)
        return
    for g, pattern, ban, end in zip(found, chosen, banned, eos, strict=True):
        assert not set(g.tokens) & set(ban)
        assert mdm.config.vocab_size not in g.tokens and (len(g.tokens) == length or end in ("truncate", "stop"))
        if pattern is not None:
            assert re.fullmatch(pattern, g.text or "", re.ASCII), (pattern, g.text)


def test_choices_and_forced_tokens(mdm: Model, arm: Model) -> None:
    choices = [" the people", " the United States", " no more"]
    for model in (mdm, arm):
        found = generate(model, ["We are"] * 8, length=9, choices=choices, forced={0: " the"}, seed=1)
        assert {g.text for g in found} == set(choices[:2])
        assert all(g.steps[0] == -1 and g.steps[1] >= 0 for g in found)
    gaps = infill(mdm, "We are ____.", gap=2, choices=["the people", "no more"], seed=1)
    assert gaps[0].text in ("We are the people.", "We are no more.")


def test_only_gaps_are_spelled_where_there_are_gaps(mdm: Model) -> None:
    (g,) = generate(mdm, "On ____ ____ the", fill=2, length=6, pattern=r"\d+", seed=4)
    assert re.match(r"On \d+ \d+ the", g.text or "")
    assert not re.fullmatch(r"On \d+ \d+ the\d*", g.text or "")


def test_everything_forced_takes_no_pass(mdm: Model) -> None:
    (g,) = generate(mdm, "We", length=2, forced={0: " the", 1: " people"})
    assert (g.text, g.nfe) == (" the people", 0)


@pytest.mark.parametrize("rules", [*RULES, None], ids=str)
def test_stop_strings_end_the_text_before_them(mdm: Model, arm: Model, rules: dict | None) -> None:
    model, stops = mdm if rules is not None else arm, ["e", "th", "12"]
    options = {
        "length": 16,
        "pattern": "[a-z ]{0,5}(the people|1200 states).*",
        "eos": "fill",
        "seed": 3,
        **(rules or {}),
    }
    found = generate(model, ["On"] * 8, stop=stops, **options)
    whole = generate(model, ["On"] * 8, **options)
    for g, w in zip(found, whole, strict=True):
        assert g.stopped == "stop" and len(g.tokens) < 16
        assert not any(stop in (g.text or "") for stop in stops)
        if "revise" not in options:
            cut = min(at for stop in stops if (at := (w.text or "").find(stop)) >= 0)
            assert g.text == (w.text or "")[:cut] and g.nfe <= w.nfe
    if "revise" not in options:  # else a text is settled at the end only
        assert sum(g.computed for g in found) < sum(w.computed for w in whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "a(?!b)"}, "is not supported at position 1"),
        ({"pattern": "a", "choices": ["b"]}, "pattern and choices are both given"),
        ({"forced": {4: 1}}, "forced at offset 4 lies outside the 4 new tokens"),
        ({"forced": {0: 0}, "eos": "suppress"}, "forced at offset 0 is token 0 .*, which is banned"),
        ({"pattern": r"\d{99}"}, "cannot be written in exactly 4 tokens"),
    ],
)
def test_contradictions_are_said_before_the_first_pass(mdm: Model, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(mdm, "We", length=4, **options)
