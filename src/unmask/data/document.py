"""A document: its text, or for a long one the way to read it again in parts, and what is known of it.

    document = Document("we the people", "a.txt")
    for part in document.parts(): ...
    head, tail = document.cut(0.95)                 # for a corpus of too few documents to hold some out

Nothing here holds a long text in memory: its sums are taken in one reading, part by part.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

LONG = 1 << 22  # characters that are held at once
PART = 1 << 18


@dataclass(frozen=True)
class Facts:
    n_bytes: int  # of UTF-8
    chars: int
    digest: bytes  # BLAKE2b of the UTF-8, 16 bytes
    blank: bool  # nothing but white space


@dataclass(frozen=True)
class Document:
    text: str  # of a long one nothing
    name: str
    date: str | None = None  # "2005", "2005-03" or "2005-03-14"; such strings sort by time
    again: Callable[[], Iterator[str]] | None = dataclasses.field(default=None, compare=False)  # a long one's parts
    known: Facts | None = None
    marks: Mapping[str, object] = dataclasses.field(default_factory=dict, compare=False)  # other fields of its record

    def parts(self) -> Iterator[str]:
        """The text in order, in parts of any size."""
        if self.again is not None:
            return self.again()
        return (self.text[start : start + PART] for start in range(0, len(self.text), PART))

    @cached_property
    def facts(self) -> Facts:
        return self.known or facts(self.parts())

    def cut(self, share: float) -> tuple[Document, Document]:
        """The first `share` of the text, and the rest; at the end of a line, else of a word, where one is near.

        Neither is empty where the text has two characters.
        """
        total = self.facts.chars
        at = max(1, min(total - 1, round(share * total)))
        near = min(4096, at // 2, (total - at) // 2)
        around = "".join(_stretch(self.parts(), at - near, at + near))
        ends = [around.rfind(sign, 0, near) for sign in ("\n", " ")] + [around.find(s, near) for s in ("\n", " ")]
        line = [end for end in (ends[0], ends[2]) if end >= 0]
        word = [end for end in (ends[1], ends[3]) if end >= 0]
        if nearest := line or word:
            at += min(nearest, key=lambda end: abs(end - near)) + 1 - near
        first = self._stretch(0, at, f"{self.name} (its beginning)")
        return first, self._stretch(at, total, f"{self.name} (its end)")

    def _stretch(self, start: int, end: int, name: str) -> Document:
        if self.again is None:
            return Document(self.text[start:end], name, self.date, marks=self.marks)
        return of_parts(lambda: _stretch(self.parts(), start, end), name, self.date)


def of_parts(again: Callable[[], Iterator[str]], name: str, date: str | None) -> Document:
    """A document that is read in parts each time: once now, for what is known of it."""
    return Document("", name, date, again, facts(again()))


def facts(parts: Iterable[str]) -> Facts:
    """In one reading. Raises `UnicodeEncodeError` at half of a surrogate pair."""
    digest, n_bytes, chars, blank = hashlib.blake2b(digest_size=16), 0, 0, True
    for part in parts:
        data = part.encode()
        digest.update(data)
        n_bytes += len(data)
        chars += len(part)
        blank = blank and (not part or part.isspace())
    return Facts(n_bytes, chars, digest.digest(), blank)


def _stretch(parts: Iterable[str], start: int, end: int) -> Iterator[str]:
    """Characters start to end."""
    at = 0
    for part in parts:
        if at >= end:
            return
        if taken := part[max(0, start - at) : end - at]:
            yield taken
        at += len(part)
