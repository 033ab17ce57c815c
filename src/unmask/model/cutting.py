"""Long texts to token ids in bounded pieces, with exactly the ids of the whole.

    for ids in encode_pieces(inner, fields, ["the first part of a lo", "ng text", ...], size=1 << 17): ...

The `tokenizers` library keeps hundreds of bytes for each token of one call. Two ways to call it on less:

- Where GPT-2's pattern, or no merges at all, decides alone (`cuts_plainly`), a text is cut where that pattern cuts
  whatever stands around: between a letter or digit and white space or punctuation.
- Elsewhere windows that overlap are encoded, and joined where both agree. A window begins at a place that is right; the
  next one at any place, so its first tokens may be wrong (a space put before the text, half a word). At a common
  beginning of a word, as the tokenizer's own pre-tokenizer finds words, what follows depends on what follows alone.
  Within a word that is longer than the overlap (all of a text, for Llama-2's kind) a byte-pair encoding is joined at a
  common token: a sequence of tokens is the encoding of its text if and only if each two neighbours are that of theirs,
  since merges that do not cross the boundary between two tokens do not see what lies beyond; and each two neighbours of
  the joined sequence are neighbours in one of the windows. Where nothing agrees, the window is doubled, at last to the
  whole: so it is with a word of such length in unigram models, whose sums are rounded by where a word begins.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.errors import UserError

WORD = 256  # characters of one word that a tokenizer is trained on
LONG_WORDS = 4_000_000  # characters of longer words, over all texts, that it is trained on
# A character of a word, and one that is of no word in any version of Unicode.
_MAYBE = re.compile(r"[^\W_](?=[\s!-/:-@\[-`{-~\u2014\u2026\u3001\u3002\uff01\uff0c\uff1b\uff1f])")
_OLD = unicodedata.ucd_3_2_0  # what was a letter then is one for every library
# Words of GPT-2's pattern that are too long to learn from: of letters, of digits, of space, of anything else.
_KINDS = (r"[^\W\d_]", r"\d", r"\s", r"(?:[^\w\s]|_)")
_TOO_LONG = re.compile("|".join(rf"(?<!{kind}){kind}{{{WORD + 1},}}" for kind in _KINDS))


def cuts_plainly(fields: dict[str, Any]) -> bool:
    """Whether GPT-2's pattern, or no merges at all, decides alone where a token may end; `fields` of tokenizer.json."""
    pre = fields.get("pre_tokenizer") or {}
    if fields.get("normalizer") or pre.get("type") != "ByteLevel" or pre.get("add_prefix_space"):
        return False
    if not all(token.get("special") for token in fields.get("added_tokens") or []):
        return False  # the others are found in the text, over any cut
    return bool(pre.get("use_regex", True)) or fields["model"].get("merges") == []


def safe_cut(text: str, start: int, end: int) -> int | None:
    """The first place in start..end where GPT-2's pattern ends a word whatever surrounds it."""
    for match in _MAYBE.finditer(text, start, end):
        if all(data.category(text[match.start()])[0] in "LN" for data in (_OLD, unicodedata)):
            return match.end()
    return None


def plain_pieces(parts: Iterable[str], size: int) -> Iterator[tuple[str, bool]]:
    """The text in pieces of about `size` characters, and whether GPT-2's pattern cuts behind each.

    It does, but behind 16 times as many characters without a place to cut; behind the last it is True.
    """
    held: list[str] = []
    count = tried = 0  # characters held, and of them without a place to cut
    for part in parts:
        held.append(part)
        count += len(part)
        if count <= size:
            continue
        text, start = "".join(held), 0
        while len(text) - start > size:
            cut = safe_cut(text, start + max(size - 1, tried), len(text))
            if cut is not None:
                yield text[start:cut], True
                start, tried = cut, 0
            elif len(text) - start >= 16 * size:
                yield text[start:], False
                start, tried = len(text), 0
            else:
                tried = len(text) - start - 1
                break
        held, count = [text[start:]], len(text) - start
    if count:
        yield "".join(held), True


def training_pieces(texts: Iterable[str], size: int, tell: Callable[[str], None] | None = None) -> Iterator[str]:
    """The texts in pieces for the trainer of a byte-level BPE, the same words as whole.

    Words of more than WORD characters are cut there, and after LONG_WORDS characters of such left out, which `tell` is
    told: the trainer goes through each word that holds a pair, at every merge.
    """
    room = LONG_WORDS
    for text in texts:
        for piece, _ in plain_pieces([text], size):
            done = 0
            for match in _TOO_LONG.finditer(piece):
                yield piece[done : match.start()]
                taken = match[0][:room]
                if len(taken) < match.end() - match.start() and room and tell is not None:
                    tell(f"the tokenizer learns from {LONG_WORDS:,} characters of words longer than {WORD}, no more")
                room -= len(taken)
                yield from (taken[at : at + WORD] for at in range(0, len(taken), WORD))
                done = match.end()
            yield piece[done:] if done else piece


def encode_pieces(inner: Any, fields: dict[str, Any], parts: Iterable[str], size: int) -> Iterator[np.ndarray]:
    """The ids (uint32) of a text that comes in parts, as of the whole text, in about `size` characters at once.

    inner: a `tokenizers.Tokenizer`. Raises TypeError where the text holds half of a surrogate pair.
    """
    text = _Text(parts, size)
    plainly = text.fill(size + 1) > size and cuts_plainly(fields)
    anywhere = plainly and not fields["pre_tokenizer"].get("use_regex", True)
    while text.fill(size + 1) > size:
        if plainly:
            cut = size if anywhere else safe_cut(text.held, size // 2, size)
            if cut is not None:
                yield _ids(inner, text.take(cut))
                continue
        yield from _windows(inner, text, size, fields, plainly)
    if text.held:
        yield _ids(inner, text.take(len(text.held)))


class _Text:
    """What is still to be encoded, read ahead as far as needed."""

    def __init__(self, parts: Iterable[str], size: int) -> None:
        self._parts = (part[at : at + size] for part in parts for at in range(0, len(part), size))
        self.held = ""
        self.ended = False

    def fill(self, count: int) -> int:
        """Reads until `count` characters are held, or all; how many are."""
        parts, length = [self.held], len(self.held)
        while length < count and not self.ended:
            part = next(self._parts, None)
            self.ended = part is None
            parts.append(part or "")
            length += len(parts[-1])
        self.held = "".join(parts)
        return length

    def take(self, count: int) -> str:
        taken, self.held = self.held[:count], self.held[count:]
        return taken


@dataclass(frozen=True)
class _Window:
    """An encoded stretch; positions count from `at`, the characters of the whole text before it."""

    ids: list[int]
    spans: list[tuple[int, int]]  # characters of each token
    words: list[int | None]
    length: int  # characters

    def clean(self, index: int) -> bool:
        """Whether a token begins where a character does."""
        return index == 0 or self.spans[index - 1][1] <= self.spans[index][0]

    def gapless(self) -> bool:
        """Whether every character is in a token. What a model drops would shift all spans behind it in a word."""
        ends = [0, *(end for _, end in self.spans)]
        return all(start <= end for (start, _), end in zip(self.spans, ends, strict=False)) and ends[-1] == self.length

    def begins(self, index: int) -> bool:
        return index == 0 or self.words[index] != self.words[index - 1]


def _windows(inner: Any, text: _Text, size: int, fields: dict[str, Any], plainly: bool) -> Iterator[np.ndarray]:
    """Encodes from the beginning of what is held, which is a right place, to the end, or to the next plain cut."""
    overlap = max(1, min(4096, size // 4))
    merges = (fields.get("model") or {}).get("type") == "BPE"
    first = 0  # token of the window that is the next to yield
    joint: tuple[tuple[int, int], int] | None = None  # the token before it, which both windows have
    length, window = size, _encoded(inner, text.held[:size])
    while text.fill(length + 1) > length:
        begin = length - overlap
        text.fill(begin + size)
        following = _encoded(inner, text.held[begin : begin + size])
        seam = _seam(window, following, begin, length - overlap // 8, merges)
        if seam is None or seam[0] < first:
            length *= 2
            text.fill(length)
            window = _encoded(inner, text.held[:length])
            if joint is not None and (window.spans[first - 1], window.ids[first - 1]) != joint:
                raise UserError("a document cannot be encoded in pieces; cut it into several")
            continue
        end, start, by_word = seam
        yield _array(window.ids[first:end])
        if by_word and plainly:
            text.take(window.spans[end][0])
            return
        first, joint = start, None
        if not by_word:
            joint = following.spans[start - 1], following.ids[start - 1]
        text.take(begin)
        length, window = size, following
    yield _array(window.ids[first:])
    text.take(len(text.held))


def _seam(one: _Window, two: _Window, begin: int, limit: int, merges: bool) -> tuple[int, int, bool] | None:
    """Where two windows may be joined: tokens of the first, tokens left out of the second, whether a word begins there.

    begin: where the second begins in the first. limit: tokens of the first that begin behind it are not trusted; all
    from the seam up to there must agree.
    """
    places = {(start + begin, end + begin): index for index, (start, end) in enumerate(two.spans[: len(one.spans)])}
    index = bisect_left(one.spans, (limit, 0)) - 1
    seam: tuple[int, int, bool] | None = None
    alike: list[tuple[int, int]] = []
    # Of several tokens that share a character the last one, in both windows.
    other = places.get(one.spans[index], 0) if index > 0 else 0
    while index > 0 and other > 0 and one.spans[index][0] > begin:
        (start, end), same = two.spans[other], one.ids[index] == two.ids[other]
        if not same or one.spans[index] != (start + begin, end + begin) or one.begins(index) != two.begins(other):
            break
        alike.append((index, other))
        if one.begins(index) and one.clean(index) and two.clean(other):
            seam = index, other, True
        index, other = index - 1, other - 1
    if seam is None and merges and _one_word(one, two, begin) and one.gapless() and two.gapless():
        for index, other in alike[len(alike) // 2 : -1]:  # the token before it is alike too
            if one.clean(index) and two.clean(other):
                return index, other, False
    return seam


def _one_word(one: _Window, two: _Window, begin: int) -> bool:
    """Whether the overlap is inside one word of both windows, which began before it and goes on behind it."""
    if not two.spans:
        return False
    before = bisect_left(one.spans, (begin, 0)) - 1
    behind = bisect_left(two.spans, (one.spans[-1][1] - begin, 0))
    if before < 0 or behind >= len(two.words):
        return False
    return one.words[before] == one.words[-1] and two.words[0] == two.words[behind]


def _encoded(inner: Any, text: str) -> _Window:
    encoding = inner.encode_batch([text], add_special_tokens=False)[0]
    return _Window(encoding.ids, encoding.offsets, encoding.word_ids, len(text))


def _ids(inner: Any, text: str) -> np.ndarray:
    return _array(inner.encode_batch_fast([text], add_special_tokens=False)[0].ids)


def _array(ids: list[int]) -> np.ndarray:
    return np.array(ids, dtype=np.uint32)
