r"""Patterns match exactly what Python's `re` under `re.ASCII` matches whole, and refuse what they cannot say."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.decoding.limits.automaton import (
    MOST_STATES,
    MOST_WORK,
    Nondeterministic,
    compile_choices,
    compile_pattern,
    refined,
    utf8_ranges,
)
from unmask.errors import UserError

# Few characters, so that random texts often match; some of each length in UTF-8.
ALPHABET = "ab-1_ \n.é€𝄞\0\b"
TEXTS = st.text(alphabet=ALPHABET, max_size=6)


def atoms() -> st.SearchStrategy[str]:
    literal = st.sampled_from(ALPHABET).map(re.escape)
    escape = st.sampled_from([r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", ".", r"\n", r"\x61", r"\u20ac", r"\."])
    escape |= st.sampled_from([r"\0", r"\012", r"\05x", r"\141", r"\08"])
    ranges = ["a-b", "é-𝄞", r"\x00-\x61", r"\141-\142"]
    member = st.one_of(literal, st.sampled_from([r"\d", r"\W", ".", r"\0", r"\12", r"\b", *ranges]))
    classes = st.builds(
        lambda negated, members, tail: f"[{negated}{''.join(members)}{tail}]",
        st.sampled_from(["", "^"]),
        st.lists(member, min_size=1, max_size=3),
        st.sampled_from(["", "-"]),
    )
    return st.one_of(literal, escape, classes)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifier = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{,2}", "{0}"])
    return st.one_of(
        st.builds("(?:{}){}".format, inner, quantifier),
        st.builds("({})".format, inner),
        st.lists(inner, min_size=0, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
    )


PATTERNS = st.recursive(atoms(), larger, max_leaves=8)


@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=8), st.sampled_from(["{}", "^{}", "{}$", "^{}$"]))
def test_agrees_with_re(pattern: str, texts: list[str], frame: str) -> None:
    framed = frame.format(f"(?:{pattern})")
    try:
        automaton = compile_pattern(framed)
    except UserError as error:
        assert "matches no text" in str(error)
        assert not any(re.fullmatch(framed, text, re.ASCII) for text in texts)
        return
    for text in texts:
        assert automaton.matches(text) == bool(re.fullmatch(framed, text, re.ASCII)), (framed, text)


@given(PATTERNS, st.integers(0, 2**32 - 1), TEXTS)
def test_agrees_with_re_on_texts_that_nearly_match(pattern: str, seed: int, noise: str) -> None:
    """Random texts rarely match a long pattern; walks through the automaton do, and their neighbours nearly."""
    try:
        automaton = compile_pattern(pattern)
    except UserError:
        return
    rng = np.random.default_rng(seed)
    state, written = 0, bytearray()
    while not automaton.accepts_S[state] or (len(written) < 30 and rng.random() < 0.7):
        bytes_on = np.flatnonzero(automaton.next_SK[state, automaton.class_of_byte] >= 0)
        if not len(bytes_on) or len(written) > 200:
            break
        written.append(int(rng.choice(bytes_on)))
        state = int(automaton.next_SK[state, automaton.class_of_byte[written[-1]]])
    if not automaton.accepts_S[state]:
        return
    text = written.decode()  # valid UTF-8, whatever the pattern
    assert re.fullmatch(pattern, text, re.ASCII)
    at = int(rng.integers(len(text) + 1))
    for near in (text[:at] + noise + text[at:], text[:at] + text[at + 1 :], text[:at] + noise + text[at + 1 :]):
        assert automaton.matches(near) == bool(re.fullmatch(pattern, near, re.ASCII)), (pattern, near)


@pytest.mark.parametrize(
    ("pattern", "states"),
    [(r"\d{4}-\d{2}-\d{2}", 11), ("(a|b)*abb", 4), ("a*|a*a|(aa)*", 1), ("yes|no|maybe so", 11), ("", 1), ("é|è", 3)],
)
def test_is_minimal(pattern: str, states: int) -> None:
    automaton = compile_pattern(pattern)
    assert automaton.next_SK.shape[0] == len(automaton.accepts_S) == states
    # Every state leads somewhere, and no two accept the same.
    assert (automaton.accepts_S | (automaton.next_SK >= 0).any(1)).all()


def test_every_character_is_written_by_one_sequence() -> None:
    written = {chr(c).encode() for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF}
    total = 0
    for low, high in [(0, 0x7F), (0x80, 0x10FFFF)]:
        for sequence in utf8_ranges(low, high):
            total += int(np.prod([last - first + 1 for first, last in sequence]))
            for ends in zip(*sequence, strict=True):
                assert bytes(ends) in written
    assert total == len(written)


@given(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF))
def test_a_range_of_characters(first: int, second: int, other: int) -> None:
    low, high = sorted((first, second))
    written = [c for c in (low, high, other, max(low - 1, 0), min(high + 1, 0x10FFFF)) if not 0xD800 <= c <= 0xDFFF]
    for c in written:
        inside = any(
            len(sequence) == len(chr(c).encode())
            and all(a <= byte <= b for byte, (a, b) in zip(chr(c).encode(), sequence, strict=True))
            for sequence in utf8_ranges(low, high)
        )
        assert inside == (low <= c <= high)


@given(st.lists(st.text(alphabet=ALPHABET, min_size=1, max_size=5), min_size=1, max_size=6), TEXTS)
def test_choices(texts: list[str], other: str) -> None:
    automaton = compile_choices(tuple(texts))
    assert all(automaton.matches(text) for text in texts)
    assert automaton.matches(other) == (other in texts)


@given(PATTERNS, TEXTS, st.booleans())
def test_behind_a_space(pattern: str, text: str, optional: bool) -> None:
    try:
        automaton = compile_pattern(pattern).behind_space(optional)
    except UserError:
        return
    stripped = text[1:] if text.startswith(" ") else text if optional else None
    assert automaton.matches(text) == bool(stripped is not None and re.fullmatch(pattern, stripped, re.ASCII))


@pytest.mark.parametrize("pattern", ["(.{0,60}|[a-m]{0,60}x){0,10}", "([a-z]{0,30}[0-9]{0,30}){0,30}"])
def test_too_much_work_is_said_soon_and_counted(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a count, so that no slow machine refuses what a fast one takes."""
    spent: list[Nondeterministic] = []
    plain = Nondeterministic.spend

    def spend(self: Nondeterministic, work: int) -> None:
        spent.append(self)
        plain(self, work)

    monkeypatch.setattr(Nondeterministic, "spend", spend)
    compile_pattern.cache_clear()
    with pytest.raises(UserError, match="takes too much work to compile; use smaller counts"):
        compile_pattern(pattern)
    assert MOST_WORK < spent[-1].work < 1.1 * MOST_WORK
    compile_pattern("([a-z]{0,30}[0-9]{0,30}){0,10}")
    assert spent[-1].work < 0.2 * MOST_WORK


@pytest.mark.parametrize("pattern", [".{0,100}", "[ab]{2000}", "(a|b)*a(a|b){9}", r"(\w+ ){0,20}\w+"])
def test_states_are_told_apart_as_one_by_one(pattern: str) -> None:
    """The quick rounds and the exact ones find the same blocks."""
    automaton = compile_pattern(pattern)
    again = refined(automaton.next_SK, automaton.accepts_S)
    assert len(set(again.tolist())) == len(automaton.next_SK), "it is minimal"


@pytest.mark.parametrize("pattern", ["(a|b)*a(a|b){14}", "(a{100}){100}", "(a{2000}){2000}", "[ab]{2048}"])
def test_too_many_states_is_said_soon(pattern: str) -> None:
    start = time.process_time()
    with pytest.raises(UserError, match=f"needs more than {MOST_STATES} states; use smaller counts"):
        compile_pattern(pattern)
    assert time.process_time() - start < 5
