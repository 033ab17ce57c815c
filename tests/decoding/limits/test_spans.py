"""What a span allows equals what a list of all its completions allows: any order, any tokens standing, any pattern."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.decoding.limits.automaton import Automaton, compile_choices, compile_pattern
from unmask.decoding.limits.spans import OPEN, Span, TokenTable
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer

# Halves of characters (é is c3 a9, è is c3 a8, € is e2 82 ac), several spellings of a text, a special token, two ends.
SPELLINGS = [b"a", b"b", b"ab", b"\xc3", b"\xa9", b"\xa8a", b"\xc3\xa9", b"\xe2\x82", b"\xacb", b" a", None, b"b", None]
EOS = len(SPELLINGS) - 1
PATTERNS = [
    *(r"a*", r"(ab)*", r"[ab]{3}", r"a+b|é", r"é+", r".*", r"[^a]*", r"(a|€)b*", r"(é|è)a?", r"( ?a)+", r"\w{2,4}", ""),
    *(r"(a|b)*a(a|b)", r"[é€]*", r"a?b?a?b?"),
]
CHOICES = [("ab", "ba", "é"), ("aab", "ab", "a"), ("€b", "è", " a a")]


Source = str | tuple[str, ...]


def automaton_of(source: Source) -> Automaton:
    return compile_pattern(source) if isinstance(source, str) else compile_choices(source)


@lru_cache(maxsize=64)
def completions(source: Source, length: int, ends: bool, banned: frozenset[int]) -> list[tuple[int, ...]]:
    """All runs of `length` tokens that spell a text of the pattern, by trying every one."""
    automaton, found = automaton_of(source), []
    usable = [t for t in range(len(SPELLINGS)) if t not in banned and (SPELLINGS[t] or (ends and t == EOS))]
    for tokens in itertools.product(usable, repeat=length):
        written = tokens[: tokens.index(EOS)] if EOS in tokens else tokens
        if set(tokens[len(written) :]) - {EOS}:
            continue
        try:
            text = b"".join(SPELLINGS[token] or b"" for token in written).decode()
        except UnicodeDecodeError:
            continue
        if automaton.matches(text):
            found.append(tokens)
    return found


def span_of(source: Source, length: int, ends: bool, banned: frozenset[int]) -> Span:
    table = TokenTable.of_spellings(SPELLINGS, automaton_of(source))
    table = table.ending_in((EOS,)) if ends else table
    return Span(table.without(banned), length)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Span, list[tuple[int, ...]], list[int]]:
    """A span, all its completions, and tokens that stand in it: most of the time some of one of them."""
    key = (
        draw(st.sampled_from([*PATTERNS, *CHOICES])),
        draw(st.integers(1, 4)),
        draw(st.booleans()),
        draw(st.sampled_from([frozenset(), frozenset({0}), frozenset({2, 6, 8})])),
    )
    every = completions(*key)
    fitting = bool(every) and draw(st.integers(0, 4)) > 0
    tokens = list(draw(st.sampled_from(every))) if fitting else [draw(st.integers(0, EOS))] * 4
    hidden = draw(st.lists(st.booleans(), min_size=4, max_size=4))
    return span_of(*key), every, [OPEN if hide else t for t, hide in zip(tokens[: key[1]], hidden, strict=False)]


def agreeing(every: list[tuple[int, ...]], tokens: list[int]) -> list[tuple[int, ...]]:
    return [one for one in every if all(t in (OPEN, c) for t, c in zip(tokens, one, strict=True))]


@given(situations())
def test_allowed_is_what_some_completion_has(situation: tuple[Span, list[tuple[int, ...]], list[int]]) -> None:
    span, every, tokens = situation
    left = agreeing(every, tokens)
    assert span.fits(tokens) == bool(left)
    expected = np.zeros((len(tokens), len(SPELLINGS)), dtype=bool)
    for one in left:
        expected[np.arange(len(tokens)), one] = True
    opened = [offset for offset, token in enumerate(tokens) if token == OPEN]
    assert (span.allowed(tokens) == expected[opened]).all()
    for offset in range(len(tokens)):  # at a token that stands: what could stand there instead
        others = agreeing(every, [OPEN if n == offset else token for n, token in enumerate(tokens)])
        assert set(span.allowed(tokens, [offset])[0].nonzero()[0]) == {one[offset] for one in others}


@given(situations(), st.data())
def test_admit_takes_one_after_another(
    situation: tuple[Span, list[tuple[int, ...]], list[int]], data: st.DataObject
) -> None:
    span, every, tokens = situation
    likely = st.sampled_from(agreeing(every, tokens) or [(0,) * len(tokens)])
    offsets = data.draw(st.lists(st.integers(0, len(tokens) - 1), max_size=6))
    proposals = [(n, data.draw(st.one_of(likely.map(lambda one, n=n: one[n]), st.integers(0, EOS)))) for n in offsets]
    expected, standing = [], list(tokens)
    for offset, token in proposals:
        trial = [token if n == offset else other for n, other in enumerate(standing)]
        expected.append(bool(agreeing(every, trial)))
        standing = trial if expected[-1] else standing
    assert span.admit(tokens, proposals) == expected


@given(st.sampled_from([*PATTERNS, *CHOICES]), st.integers(1, 8), st.booleans(), st.randoms(use_true_random=False))
def test_any_order_ends_in_an_accepted_text(source: Source, length: int, ends: bool, rng) -> None:
    """Filled at random within what is allowed, a span that could be filled at first never gets stuck."""
    span = span_of(source, length, ends, frozenset())
    if not span.fits([OPEN] * length):
        with pytest.raises(UserError, match=f"cannot be written in exactly {length} token"):
            span.check()
        return
    span.check()
    tokens = [OPEN] * length
    for offset in rng.sample(range(length), length):
        tokens[offset] = rng.choice(span.allowed(tokens, [offset])[0].nonzero()[0].tolist())
    written = tokens[: tokens.index(EOS)] if EOS in tokens else tokens
    assert automaton_of(source).matches(b"".join(SPELLINGS[token] or b"" for token in written).decode())


@pytest.mark.parametrize("source", [*PATTERNS, *CHOICES])
def test_lengths(source: Source) -> None:
    table = TokenTable.of_spellings(SPELLINGS, automaton_of(source))
    assert [n for n in table.lengths(4) if n] == [n for n in range(1, 5) if completions(source, n, False, frozenset())]


def test_a_real_vocabulary() -> None:
    """Every token of a trained byte-level BPE, against reading its bytes one by one."""
    text = "On 1790-01-08, the people of the Überfluß in 東京 paid €20; on 1790-02-11 nothing. " * 5
    tokenizer = Tokenizer.train_bpe(1024, [text])
    size = tokenizer.vocab_size + 2  # a model may have ids the tokenizer lacks
    for pattern in (r"\d{4}-\d{2}-\d{2}", r"[^a]*", r"(\w+ )*東京", "[ü-香]+"):
        automaton = compile_pattern(pattern)
        table = TokenTable.of(tokenizer, size, automaton)
        assert table is TokenTable.of(tokenizer, size, automaton)
        for token in range(size):
            spelled = tokenizer.spellings[token] if token < tokenizer.vocab_size else None
            for state in range(len(automaton.accepts_S)):
                after = state if spelled else -1
                for byte in spelled or b"":
                    after = int(automaton.next_SK[after, automaton.class_of_byte[byte]]) if after >= 0 else -1
                assert table.next_SC[state, table.class_V[token]] == after
    span = Span(TokenTable.of(tokenizer, size, compile_pattern(r"\d{4}-\d{2}-\d{2}")), 10)
    span.check()
    tokens, rng = [OPEN] * 10, np.random.default_rng(0)
    for offset in rng.permutation(10):
        tokens[offset] = int(rng.choice(span.allowed(tokens, [int(offset)])[0].nonzero()[0]))
    assert automaton_of(r"\d{4}-\d{2}-\d{2}").matches(tokenizer.decode(tokens))
