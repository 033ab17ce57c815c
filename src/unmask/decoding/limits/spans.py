"""A run of positions that must spell a text of a pattern, filled in whatever order.

    table = TokenTable.of(model.tokenizer, vocab_size, compile_pattern(r"\\d{4}-\\d{2}-\\d{2}"))
    span = Span(table, length=8)
    span.allowed([-1, 17, -1, ...])              # bool [open positions, V]
    span.admit([-1, 17, -1, ...], [(0, 52), ...])  # which of several proposals fit together

A token is allowed where some completion of the whole span, given the tokens that stand there already, has it: states
reachable from the left meet states that can still end well on the right. That is exact for every order of filling, and
a span that can be completed at first stays so. Left to right it is the usual guided decoding (arXiv 2307.09702).

Any tokens that spell a text count, not only those the tokenizer itself would choose.

Shapes: V vocabulary, S states, C classes of tokens that move every state alike, n positions of a span.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from unmask.decoding.limits.automaton import DEAD, Automaton
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer

OPEN = -1
NOWHERE = 0  # the class of tokens that no state survives


@dataclass(frozen=True, eq=False)
class TokenTable:
    """An automaton that reads tokens. Class NOWHERE holds what is never allowed: special tokens, among others.

    class_V: intp. next_SC: int32, DEAD where the text cannot go on. accepts_S: bool. what: how errors call it.
    """

    class_V: np.ndarray
    next_SC: np.ndarray
    accepts_S: np.ndarray
    what: str

    @staticmethod
    @lru_cache(maxsize=32)
    def of(tokenizer: Tokenizer, vocab_size: int, automaton: Automaton) -> TokenTable:
        """The table of a tokenizer's vocabulary, kept for the next call. Ids the tokenizer lacks are not allowed."""
        spellings: list[bytes | None] = [*tokenizer.spellings, *[None] * (vocab_size - tokenizer.vocab_size)]
        return TokenTable.of_spellings(spellings, automaton)

    @classmethod
    def of_spellings(cls, spellings: Sequence[bytes | None], automaton: Automaton) -> TokenTable:
        """All tokens at once, byte by byte: a token's first d bytes are a map of states to states, and there are few
        different ones, so that a map and a byte lead to the next map by a small table."""
        n_states, n_classes = automaton.next_SK.shape
        after_SK = np.vstack([automaton.next_SK, np.full((1, n_classes), DEAD, dtype=np.int32)])  # DEAD stays DEAD
        maps = [np.full(n_states, DEAD, dtype=np.int32), np.arange(n_states, dtype=np.int32)]
        numbers = {map_S.tobytes(): number for number, map_S in enumerate(maps)}
        lengths_V = np.array([len(spelled or b"") for spelled in spellings])
        starts_V = np.cumsum(lengths_V) - lengths_V
        kinds = automaton.class_of_byte[np.frombuffer(b"".join(s or b"" for s in spellings), dtype=np.uint8)]
        map_V = (lengths_V > 0).astype(np.intp)
        for depth in range(int(lengths_V.max(initial=0))):
            alive = np.flatnonzero((lengths_V > depth) & (map_V != NOWHERE))
            if not len(alive):
                break
            pairs, which = np.unique(map_V[alive] * n_classes + kinds[starts_V[alive] + depth], return_inverse=True)
            found = []
            for before, kind in zip(*divmod(pairs, n_classes), strict=True):
                map_S = after_SK[maps[before], kind]
                number = numbers.setdefault(map_S.tobytes(), len(maps))
                if number == len(maps):
                    maps.append(map_S)
                found.append(number)
            map_V[alive] = np.array(found)[which]
        used, class_V = np.unique(np.append(NOWHERE, map_V), return_inverse=True)
        next_SC = np.stack([maps[number] for number in used], axis=1)
        return cls(class_V[1:].astype(np.intp), next_SC, automaton.accepts_S, automaton.what)

    def ending_in(self, eos_ids: Sequence[int]) -> TokenTable:
        """The same, but a text may end early: then the rest of a span is any of `eos_ids`."""
        n_states, n_classes = self.next_SC.shape
        next_SC = np.full((n_states + 1, n_classes + 1), DEAD, dtype=np.int32)
        next_SC[:-1, :-1] = self.next_SC
        next_SC[np.append(self.accepts_S, True), -1] = n_states
        class_V = self.class_V.copy()
        class_V[list(eos_ids)] = n_classes
        return TokenTable(class_V, next_SC, np.append(self.accepts_S, True), self.what)

    def without(self, banned: Iterable[int]) -> TokenTable:
        """The same with tokens that are never allowed."""
        class_V = self.class_V.copy()
        class_V[list(banned)] = NOWHERE
        return replace(self, class_V=class_V)

    @cached_property
    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of states (from, to) that some allowed token joins."""
        n_states = len(self.next_SC)
        from_N, class_N = np.nonzero(self.next_SC != DEAD)
        held = np.bincount(self.class_V, minlength=self.next_SC.shape[1]) > 0
        from_N, class_N = from_N[held[class_N]], class_N[held[class_N]]
        return tuple(divmod(np.unique(from_N * n_states + self.next_SC[from_N, class_N]), n_states))  # type: ignore

    def lengths(self, most: int) -> list[int]:
        """The numbers of tokens, up to `most`, in which some text can be written."""
        return [length for length, reached_S in enumerate(self.reached(most)) if (reached_S & self.accepts_S).any()]

    def all_from(self, most: int) -> int | None:
        """The number of tokens from which on every number does, without an end; None where there is none, or it does
        not show within `most`. States that were reached before are those that will be reached again."""
        seen: dict[bytes, int] = {}
        works: list[bool] = []
        for length, reached_S in enumerate(self.reached(most)):
            before = seen.setdefault(reached_S.tobytes(), length)
            if before < length:
                if not all(works[before:]):
                    return None
                return next((n + 1 for n in range(before - 1, -1, -1) if not works[n]), 0)
            works.append(bool((reached_S & self.accepts_S).any()))
        return None

    def reached(self, most: int) -> Iterator[np.ndarray]:
        """Bool [S]: the states that some text of 0, 1, ..., `most` tokens leads to."""
        from_N, to_N = self.steps
        reached_S = np.arange(len(self.next_SC)) == 0
        for _ in range(most + 1):
            yield reached_S
            wider_S = np.zeros_like(reached_S)
            wider_S[to_N[reached_S[from_N]]] = True
            reached_S = wider_S


def shown_lengths(lengths: Sequence[int], tail: int | None) -> list[str]:
    """Numbers of tokens in words; `tail`: any from there on."""
    if tail is None or max(lengths) < tail:
        return [str(length) for length in sorted(lengths)]
    return [*(str(length) for length in sorted(lengths) if length < tail), f"{tail} or more"]


class Span:
    """`length` positions that together must spell an accepted text.

    Tokens of a span are given as a list with `OPEN` (-1) where none stands yet. Nothing is kept between calls, so
    tokens may also be taken back.
    """

    def __init__(self, table: TokenTable, length: int) -> None:
        self.table, self.length = table, length

    def check(self, tokens_n: Sequence[int] | None = None) -> None:
        """Raises `UserError` when no text has this length, or none has these tokens."""
        what, length = self.table.what, self.length
        if not self.fits([OPEN] * length):
            most = 4 * length + 64
            others, tail = self.table.lengths(most), self.table.all_from(most)
            if not others:
                raise UserError(f"{what} cannot be written with the tokens that are left; ban fewer, or use another")
            near = " or ".join(shown_lengths(sorted(others, key=lambda n: abs(n - length))[:2], tail))
            size = "1 token" if length == 1 else f"{length} tokens"
            raise UserError(f"{what} cannot be written in exactly {size}, but in {near}; give it so many (length, gap)")
        if tokens_n is not None and not self.fits(tokens_n):
            given = [offset for offset, token in enumerate(tokens_n) if token != OPEN]
            alone = [offset for offset in given if not self.fits(self.only(tokens_n, [offset]))]
            at = f"offset {alone[0]}" if alone else f"offsets {', '.join(map(str, given))}"
            raise UserError(f"forced at {at} of the span does not go with {what}; change one of them")

    def fits(self, tokens_n: Sequence[int]) -> bool:
        """Whether the open positions can be filled."""
        return bool(self.backward(tokens_n)[0, 0])

    def allowed(self, tokens_n: Sequence[int], positions: Sequence[int] | None = None) -> np.ndarray:
        """Bool [positions, V]: tokens with which the rest can still be completed, given all other tokens.

        positions: the open ones if not given; at one that holds a token, what might replace it.
        """
        if positions is None:
            positions = [offset for offset, token in enumerate(tokens_n) if token == OPEN]
        from_left, from_right = self.forward(tokens_n), self.backward(tokens_n)
        allowed_nV = np.empty((len(positions), len(self.table.class_V)), dtype=bool)
        for row, offset in enumerate(positions):
            allowed_C = self.fitting_C(from_left[offset], from_right[offset + 1])
            np.take(allowed_C, self.table.class_V, out=allowed_nV[row], mode="clip")
        return allowed_nV

    def admit(self, tokens_n: Sequence[int], proposals: Sequence[tuple[int, int]]) -> list[bool]:
        """Which of several (position, token) can be written together; earlier ones come first.

        A proposal for a position that holds a token replaces it. The first is admitted if it is `allowed`.
        """
        tokens = list(tokens_n)
        together = list(tokens)
        for offset, token in proposals:
            together[offset] = token
        if len({offset for offset, _ in proposals}) == len(proposals) and self.fits(together):
            return [True] * len(proposals)
        from_left, from_right = self.forward(tokens), self.backward(tokens)
        admitted = []
        for offset, token in proposals:
            class_ = self.table.class_V[token]
            fits = bool(self.fitting_C(from_left[offset], from_right[offset + 1])[class_])
            admitted.append(fits)
            if fits:
                tokens[offset] = token
                self.forward(tokens, from_left, offset)
                self.backward(tokens, from_right, offset)
        return admitted

    # ------------------------------------------------------------------ inside

    def forward(self, tokens_n: Sequence[int], reached: np.ndarray | None = None, start: int = 0) -> np.ndarray:
        """Bool [n + 1, S + 1]: states in which the text may be in front of each position; the last is never read.
        Given `reached`, only what lies behind position `start` is found anew, in place."""
        (from_N, to_N), next_SC = self.table.steps, self.table.next_SC
        if reached is None:
            reached = np.zeros((self.length + 1, len(next_SC) + 1), dtype=bool)
            reached[0, 0] = True
        reached[start + 1 :] = False
        for offset in range(start, self.length):
            before, after = reached[offset], reached[offset + 1]
            if tokens_n[offset] == OPEN:
                after[to_N[before[from_N]]] = True
            else:
                after[next_SC[before[:-1], self.table.class_V[tokens_n[offset]]]] = True
        return reached

    def backward(self, tokens_n: Sequence[int], ends: np.ndarray | None = None, stop: int | None = None) -> np.ndarray:
        """Bool [n + 1, S + 1]: states in front of each position from which the rest can be completed. Given `ends`,
        only up to position `stop` is found anew, in place."""
        (from_N, to_N), next_SC = self.table.steps, self.table.next_SC
        if ends is None:
            ends = np.zeros((self.length + 1, len(next_SC) + 1), dtype=bool)
            ends[self.length, :-1] = self.table.accepts_S
        last = self.length - 1 if stop is None else stop
        ends[: last + 1] = False
        for offset in range(last, -1, -1):
            before, after = ends[offset], ends[offset + 1]
            if tokens_n[offset] == OPEN:
                before[from_N[after[to_N]]] = True
            else:
                before[:-1] = after[next_SC[:, self.table.class_V[tokens_n[offset]]]]
        return ends

    def fitting_C(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Bool [C]: tokens that lead from a state on the left to one on the right."""
        return after[self.table.next_SC[before[:-1]]].any(0)

    @staticmethod
    def only(tokens_n: Sequence[int], offsets: Sequence[int]) -> list[int]:
        return [token if offset in offsets else OPEN for offset, token in enumerate(tokens_n)]
