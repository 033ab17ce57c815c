"""Where texts end, and that nothing is run behind the end."""

from __future__ import annotations

import pytest

from unmask.decoding import generate
from unmask.model.tokenizers import Tokenizer


@pytest.fixture(scope="module")
def ender(make_model):
    """Writes its end of sequence (0) often."""
    return make_model(vocab_size=3, eos_id=0)


ORDERS = [
    {"order": "random"},
    {"order": "confidence", "quota": "even", "steps": 16},
    {"order": "left-to-right", "quota": "threshold:0.999"},
]


@pytest.mark.parametrize("options", ORDERS, ids=lambda options: options["order"])
def test_truncate_is_fill_cut(ender, options) -> None:
    prompts = [[1]] * 16
    full, cut = (generate(ender, prompts, length=16, eos=eos, **options) for eos in ("fill", "truncate"))
    for a, b in zip(full, cut, strict=True):
        end = a.tokens.index(0) + 1 if 0 in a.tokens else 16
        assert b.tokens == a.tokens[:end] and b.nfe <= a.nfe and b.stopped == a.stopped
    assert sum(b.nfe for b in cut) < sum(a.nfe for a in full)


@pytest.mark.parametrize("options", ORDERS, ids=lambda options: options["order"])
def test_stop_never_runs_what_lies_behind(ender, options) -> None:
    prompts = [[1]] * 16
    truncated, stopped = (generate(ender, prompts, length=16, eos=eos, **options) for eos in ("truncate", "stop"))
    for g in stopped:
        assert 0 not in g.tokens[:-1] and g.stopped == ("eos" if g.tokens[-1] == 0 else "length")
        assert g.stopped == "eos" or len(g.tokens) == 16
    assert sum(g.computed for g in stopped) <= sum(g.computed for g in truncated)
    assert [g.text for g in stopped] == [None] * 16


def test_suppress(ender) -> None:
    found = generate(ender, [[1]] * 8, length=16, eos="suppress")
    assert all(0 not in g.tokens and g.stopped == "length" for g in found)


@pytest.mark.parametrize("eos", ["truncate", "stop"])
@pytest.mark.parametrize("revise", ["remdm-cap:0.2", "edit:0.5"])
def test_text_that_may_change_ends_with_its_block(ender, eos: str, revise: str) -> None:
    found = generate(ender, [[1]] * 16, length=16, block=4, steps=16, revise=revise, eos=eos)
    assert any(len(g.tokens) < 16 for g in found)
    for g in found:
        assert 0 not in g.tokens[:-1]


def test_each_row_has_its_own_end(ender) -> None:
    modes = ["fill", "truncate", "stop", "suppress"]
    found = generate(ender, [[1]] * 4, length=30, eos=modes, seed=[(1, 0)] * 4, order="left-to-right", quota="even")
    assert len(found[0].tokens) == len(found[3].tokens) == 30
    assert found[1].tokens == found[2].tokens and len(found[1].tokens) < 30


@pytest.fixture(scope="module")
def speller(make_model):
    tokenizer = Tokenizer.plain_bytes()
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, eos_id=0)


@pytest.mark.parametrize(
    "rules",
    [
        {"order": "left-to-right", "quota": "even"},
        {"order": "confidence", "quota": "even", "steps": 6},
        {"order": "random", "block": 3},
        {"order": "left-to-right", "quota": "even", "eos": "stop"},
        {"order": "confidence", "quota": "even", "revise": "p2"},
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("xabcdy", ["bc", "abcd"]),  # the one that begins first is complete last
        ("xabcdy", ["c", "bcd", "abcdy"]),
        ("xabcey", ["bc", "abcd"]),  # it only begins
        ("xyzabc", ["c", "abcd"]),  # and the text ends
        ("ababac", ["b", "abac"]),
        ("xé€y..", ["€", "é€y"]),
        ("aaaaab", ["aab", "aaaa"]),
    ],
)
def test_overlapping_stop_strings_end_at_the_one_that_begins_first(make_model, speller, text, stops, rules) -> None:
    """Where the text is cut does not depend on which one was complete first, nor on when one looks."""
    model, tokenizer = speller, speller.tokenizer
    if rules is None:
        model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, eos_id=0, causal=True)
    length = len(text.encode())
    (g,) = generate(model, ["On"], length=length, choices=[text], stop=stops, **(rules or {}))
    at = min(found for stop in stops if (found := text.find(stop)) >= 0)
    assert (g.text, g.stopped) == (text[:at], "stop")
