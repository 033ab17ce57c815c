r"""What a row must write, must not write and ends at: read from a caller's options, checked for contradictions.

    runs = [Run(32, eos_ids=(0,))]  # the continuation; a text with gaps has one run for each
    found = read_constraints(tokenizer, vocab_size, runs, banned=[3, " the"], forced={0: "We"}, pattern=r"\w+( \w+)*\.")
    found.banned, found.forced, found.spans, found.stops

Offsets count a row's new tokens from 0, over all its runs. Every contradiction is a `UserError` in one line that names
the option. What then may stand at a position, see `spans`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from numbers import Integral
from typing import NamedTuple

from unmask.decoding.limits.automaton import Automaton, compile_choices, compile_pattern
from unmask.decoding.limits.spans import OPEN, Span, TokenTable
from unmask.errors import UserError
from unmask.model.pieces import inside
from unmask.model.tokenizers import Tokenizer

__all__ = ["OPEN", "Constraints", "Run", "Span", "Stop", "StopStrings", "read_constraints"]


@dataclass(frozen=True)
class Run:
    """New tokens in a row without a given one between: a gap, or the continuation of a prompt."""

    length: int
    spells: bool = True  # whether the row's pattern or choices concern it
    eos_ids: tuple[int, ...] = ()  # tokens a text may end early with: the rest of the run is such tokens
    takes_space: bool = False  # the run also stands for a space in front of what it must spell
    begins_text: bool = False  # nothing stands before it


@dataclass(frozen=True)
class Constraints:
    """One row's, checked. `forced` and the offsets of `spans` count new tokens from 0."""

    banned: frozenset[int] = frozenset()
    forced: Mapping[int, int] = field(default_factory=dict)
    spans: Sequence[tuple[range, Span]] = ()
    stops: StopStrings | None = None


class Stop(NamedTuple):
    """The first stop string: it begins in the token at `token`, and `surplus` is how many of that token's characters
    belong to it: the text of the tokens up to this one, less so many characters at its end, is what stands before."""

    token: int
    surplus: int


def read_constraints(
    tokenizer: Tokenizer | None,
    vocab_size: int,
    runs: Sequence[Run],
    *,
    banned: Iterable[int | str] = (),
    forced: Mapping[int, int | str] | None = None,
    pattern: str | None = None,
    choices: Sequence[str] | None = None,
    stop: Sequence[str] = (),
) -> Constraints:
    """A row's constraints; see the options of `generate`. Raises `UserError` for what cannot be met.

    banned: ids, or texts of single tokens (every token with exactly this text). forced: the token, or the first of the
    tokens of a text, at an offset. pattern or choices: what every run must spell. stop: texts.
    """
    banned_ids = read_banned(tokenizer, vocab_size, banned)
    if len(banned_ids) == vocab_size:
        raise UserError(f"banned holds all {vocab_size} tokens of the vocabulary; leave some")
    forced_ids = read_forced(tokenizer, vocab_size, forced or {}, runs)
    for offset, token in forced_ids.items():
        if token in banned_ids:
            text = "" if tokenizer is None else f" ({tokenizer.token_text(token)!r})"
            raise UserError(f"forced at offset {offset} is token {token}{text}, which is banned; change one of them")
    spans = read_spans(tokenizer, vocab_size, runs, pattern, choices, banned_ids)
    for offsets, span in spans:
        span.check([forced_ids.get(offset, OPEN) for offset in offsets])
    begins_text = bool(runs) and runs[-1].begins_text
    return Constraints(banned_ids, forced_ids, spans, StopStrings(tokenizer, stop, begins_text) if stop else None)


def read_banned(tokenizer: Tokenizer | None, vocab_size: int, banned: Iterable[int | str]) -> frozenset[int]:
    found: set[int] = set()
    with_text: dict[bytes, list[int]] = {}
    for entry in banned:
        if not isinstance(entry, str):
            found.add(checked_id("banned", entry, vocab_size))
            continue
        if not entry:
            raise UserError("banned holds an empty text; leave it out")
        known = needed(tokenizer, "banned")
        if not with_text:
            for token, spelled in enumerate(known.spellings):  # a special token goes by its name
                with_text.setdefault(spelled or known.token_text(token).encode(), []).append(token)
        if entry.encode() not in with_text:
            raise UserError(f"banned text {entry!r} {not_one_token(known, entry, with_text)}")
        found.update(with_text[entry.encode()])
    return frozenset(found)


def not_one_token(tokenizer: Tokenizer, text: str, with_text: Mapping[bytes, Sequence[int]]) -> str:
    """Why a text cannot be banned, and what can: the same word with or without a space is another token."""
    if f" {text}".encode() in with_text:
        return f"has no token without a space before it; give {f' {text}'!r}, or ids"
    if text[:1] == " " and text[1:].encode() in with_text:
        return f"has no token with a space before it; give {text[1:]!r}, or ids"
    ids = inside(tokenizer, text)
    if len(ids) == 1:  # a tokenizer that rewrites what it reads, to lower case for one
        return f"is read as the token {tokenizer.token_text(ids[0])!r}; give that, or its id {ids[0]}"
    return f"is {len(ids)} tokens, not one; give texts of single tokens, or ids"


def read_forced(
    tokenizer: Tokenizer | None, vocab_size: int, forced: Mapping[int, int | str], runs: Sequence[Run]
) -> dict[int, int]:
    found: dict[int, int] = {}
    starts = dict(zip(accumulate([0, *(run.length for run in runs)]), runs, strict=False))  # offset: the run there
    new = sum(run.length for run in runs)
    for start, entry in forced.items():
        if isinstance(entry, str):
            if not entry:
                raise UserError(f"forced at offset {start} is an empty text; leave it out")
            ids = whole_tokens(needed(tokenizer, "forced"), entry, starts.get(start))
        else:
            ids = [checked_id(f"forced at offset {start}", entry, vocab_size)]
        for offset, token in enumerate(ids, start):
            if not 0 <= offset < new:
                raise UserError(f"forced at offset {offset} lies outside the {new} new tokens; give 0 to {new - 1}")
            if found.get(offset, token) != token:
                raise UserError(f"forced has two tokens at offset {offset}, {found[offset]} and {token}; leave out one")
            found[offset] = token
    return found


def read_spans(
    tokenizer: Tokenizer | None,
    vocab_size: int,
    runs: Sequence[Run],
    pattern: str | None,
    choices: Sequence[str] | None,
    banned: frozenset[int],
) -> list[tuple[range, Span]]:
    if pattern is not None and choices is not None:
        raise UserError("pattern and choices are both given; leave out one (a|b in a pattern is a choice)")
    if pattern is None and choices is None:
        return []
    name = "pattern" if pattern is not None else "choices"
    if pattern is not None:
        automaton = compile_pattern(pattern)
    else:
        if not choices:
            raise UserError("choices is empty; give at least one text")
        if "" in choices:
            raise UserError("choices holds an empty text; leave it out")
        automaton = compile_choices(tuple(choices))
    known = needed(tokenizer, name)
    if not known.joins_plainly:
        raise UserError(f"{name} needs tokens that spell their text by themselves; those of this tokenizer do not")
    spans, start = [], 0
    for run in runs:
        if not run.spells or not run.length:
            start += run.length
            continue
        table = TokenTable.of(known, vocab_size, in_place(automaton, run, known))
        if run.eos_ids:
            table = table.ending_in(run.eos_ids)
        if banned:
            table = table.without(banned)
        spans.append((range(start, start + run.length), Span(table, run.length)))
        start += run.length
    return spans


def in_place(automaton: Automaton, run: Run, tokenizer: Tokenizer) -> Automaton:
    """The automaton of what the tokens spell, for what their text in the whole must be."""
    if run.takes_space:
        return automaton.behind_space()
    if run.begins_text and tokenizer.drops_first_space:
        return automaton.behind_space(optional=True)
    return automaton


def whole_tokens(tokenizer: Tokenizer, text: str, run: Run | None) -> list[int]:
    """Tokens that spell exactly `text` inside another one. At the first place of a `run` they may begin a text, or come
    behind a space that the run takes along."""
    if run is not None and run.takes_space and not text.startswith(" "):
        text = f" {text}"
    if run is not None and run.begins_text and tokenizer.decode(ids := tokenizer.encode(text)) == text:
        return ids
    if tokenizer.spelled(ids := inside(tokenizer, text)) == text.encode():
        return ids
    raise UserError(f"forced text {text!r} is not a number of whole tokens of this tokenizer; give token ids")


def checked_id(name: str, token: object, vocab_size: int) -> int:
    if not isinstance(token, Integral) or isinstance(token, bool):
        raise UserError(f"{name} is {token!r}; give token ids or texts")
    if not 0 <= int(token) < vocab_size:
        raise UserError(f"{name} is token {token}, outside the vocabulary of {vocab_size}")
    return int(token)


def needed(tokenizer: Tokenizer | None, name: str) -> Tokenizer:
    if tokenizer is None:
        raise UserError(f"{name} holds text, and this model has no tokenizer; give token ids, or load one with it")
    return tokenizer


class StopStrings:
    """Texts before which a row ends, found in its settled tokens: across tokens, and inside of one.

    Special tokens stand for no text and no stop string reaches over them.
    """

    BREAK = b"\xff"  # no byte of UTF-8

    def __init__(self, tokenizer: Tokenizer | None, stops: Sequence[str], begins_text: bool = False) -> None:
        """begins_text: nothing stands before the tokens, so that a first space may be the tokenizer's own."""
        self.tokenizer = needed(tokenizer, "stop")
        self.begins_text = begins_text and self.tokenizer.drops_first_space
        if not all(isinstance(text, str) for text in stops):
            raise UserError(f"stop is {stops!r}; give texts")
        if "" in stops:
            raise UserError("stop holds an empty text; leave it out")
        self.stops = [text.encode() for text in stops]

    def find(self, ids: Sequence[int], last: bool = True) -> Stop | None:
        """The stop string that begins first in the text of `ids`, the settled tokens of a row; None if there is none.

        last: nothing comes behind them. Else an earlier one that has only begun may yet come to its end, and is waited
        for: where a text is cut does not depend on when one looks. Found from the start each time, since tokens may be
        taken back: microseconds for hundreds of tokens.
        """
        spellings, size = self.tokenizer.spellings, self.tokenizer.vocab_size
        pieces = [(spellings[token] if 0 <= token < size else None) or self.BREAK for token in ids]
        if self.begins_text and (spelling := [n for n, piece in enumerate(pieces) if piece != self.BREAK][:1]):
            pieces[spelling[0]] = pieces[spelling[0]].removeprefix(b" ")
        text = b"".join(pieces)
        at = min((found for stop in self.stops if (found := text.find(stop)) >= 0), default=None)
        if at is None or (not last and self.begun(text) < at):
            return None
        ends = list(accumulate(map(len, pieces)))
        token = bisect_right(ends, at)
        return Stop(token, len(text[at : ends[token]].decode(errors="replace")))

    def begun(self, text: bytes) -> int:
        """Where the earliest stop string begins that the end of the text cuts off; its length if there is none."""
        longest = max(map(len, self.stops))
        starts = range(max(0, len(text) - longest + 1), len(text))
        return next((at for at in starts if any(stop.startswith(text[at:]) for stop in self.stops)), len(text))
