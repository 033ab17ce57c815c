"""A long document in parts is what it is as a whole, and is cut in two where a line or a word ends."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from unmask.data.document import Document, facts, of_parts


def long(text: str, size: int = 7) -> Document:
    return of_parts(lambda: (text[at : at + size] for at in range(0, len(text), size)), "long", "1999")


def text_of(document: Document) -> str:
    return "".join(document.parts())


@given(text=st.text(max_size=100), size=st.integers(1, 30))
def test_what_is_known_does_not_depend_on_the_parts(text: str, size: int) -> None:
    whole = Document(text, "a").facts
    assert whole == long(text, size).facts == facts(text)
    assert whole.n_bytes == len(text.encode()) and whole.chars == len(text) and whole.blank == (not text.strip())
    assert whole.digest == hashlib.blake2b(text.encode(), digest_size=16).digest()


@given(text=st.text(alphabet="ab \n東", min_size=2, max_size=200), share=st.floats(0.01, 0.99))
def test_both_halves_are_the_text(text: str, share: float) -> None:
    head, tail = Document(text, "a").cut(share)
    assert text_of(head) + text_of(tail) == text and text_of(head) and text_of(tail)
    again = [text_of(half) for half in long(text).cut(share)]
    assert again == [text_of(head), text_of(tail)]
    assert head.facts.n_bytes + tail.facts.n_bytes == len(text.encode())


def test_the_cut_is_at_the_end_of_a_line_else_of_a_word() -> None:
    lines = "a line of words\n" * 100
    head, tail = Document(lines, "a", "1999").cut(0.95)
    assert head.text.endswith("\n") and tail.text.startswith("a line") and abs(len(tail.text) - 80) < 16
    assert (head.date, tail.name) == ("1999", "a (its end)")
    head, tail = Document("words " * 300, "a").cut(0.9)
    assert tail.text.startswith("words") and abs(len(tail.text) - 180) <= 6
    head, tail = Document("x" * 1000, "a").cut(0.9)
    assert (len(head.text), len(tail.text)) == (900, 100)
