r"""Regular expressions and lists of texts as minimal automata over UTF-8 bytes.

    automaton = compile_pattern(r"\d{4}-\d{2}-\d{2}")
    automaton.matches("1790-01-08")  # True
    compile_choices(("yes", "no"))

Over bytes rather than characters, since a token may hold half a character. Thompson's construction, subsets, Moore's
minimisation (Hopcroft & Ullman 1979); the tree comes from `regex`.

Shapes: S states, K classes of bytes that no state tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from unmask.decoding.limits.regex import Chars, Either, Node, Repeat, Sequel, parse, shown
from unmask.errors import UserError

DEAD = -1
MOST_STATES = 2048
# Visits of the nondeterministic automaton's states while subsets are made, which is what takes the time: about half a
# second. Counted rather than timed, so that a pattern is accepted everywhere or nowhere.
MOST_WORK = 1_200_000
# Code points up to here are written in 1, 2, 3 (without surrogates, which UTF-8 cannot write) and 4 bytes.
UTF8_LIMITS = (0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF)
SURROGATES = (0xD800, 0xDFFF)


class Nondeterministic:
    """Thompson's automaton: steps that read nothing, and steps that read a byte out of a range."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.work = 0
        self.free: list[list[int]] = []
        self.steps: list[list[tuple[int, int, int]]] = []

    def state(self) -> int:
        if len(self.free) >= 16 * MOST_STATES:
            raise too_large(self.what)
        self.free.append([])
        self.steps.append([])
        return len(self.free) - 1

    def add(self, node: Node, start: int) -> int:
        """The state in which `node`, begun in `start`, is complete."""
        if isinstance(node, Sequel):
            for part in node.parts:
                start = self.add(part, start)
            return start
        if isinstance(node, Repeat):
            for _ in range(node.least):
                start = self.add(node.part, start)
            end = self.state()
            self.free[start].append(end)
            if node.most is None:
                self.free[self.add(node.part, end)].append(end)
                return end
            for _ in range(node.most - node.least):
                start = self.add(node.part, start)
                self.free[start].append(end)
            return end
        end = self.state()
        if isinstance(node, Either):
            for option in node.options:
                own = self.state()
                self.free[start].append(own)
                self.free[self.add(option, own)].append(end)
            return end
        for low, high in node.ranges:
            for sequence in utf8_ranges(low, high):
                here = start
                for number, (first, last) in enumerate(sequence):
                    there = end if number == len(sequence) - 1 else self.state()
                    self.steps[here].append((first, last, there))
                    here = there
        return end

    def closure(self, states: set[int]) -> frozenset[int]:
        """All that is reached from them by steps that read nothing."""
        found, waiting = set(states), list(states)
        while waiting:
            for state in self.free[waiting.pop()]:
                if state not in found:
                    found.add(state)
                    waiting.append(state)
        self.spend(len(found))
        return frozenset(found)

    def spend(self, work: int) -> None:
        """Counts work. Raises `UserError` where it is more than a pattern may take."""
        self.work += work
        if self.work > MOST_WORK:
            raise UserError(f"{self.what} takes too much work to compile; use smaller counts, above all around others")


@dataclass(frozen=True, eq=False)
class Automaton:
    """Deterministic, minimal, without states from which nothing matches; state 0 is the start.

    next_SK: int32, the state after a byte of each class, DEAD where nothing matches any more. class_of_byte: [256].
    accepts_S: bool, whether the text may end here. what: how errors call it.
    """

    next_SK: np.ndarray
    class_of_byte: np.ndarray
    accepts_S: np.ndarray
    what: str

    def matches(self, text: str) -> bool:
        state = 0
        for byte in text.encode():
            state = int(self.next_SK[state, self.class_of_byte[byte]])
            if state == DEAD:
                return False
        return bool(self.accepts_S[state])

    def behind_space(self, optional: bool = False) -> Automaton:
        """The same behind one space; if `optional`, what begins with another character also matches as it is."""
        space = int(self.class_of_byte[0x20])
        class_of_byte = self.class_of_byte.copy()
        class_of_byte[0x20] = self.next_SK.shape[1]
        start_K = self.next_SK[0] if optional else np.full_like(self.next_SK[0], DEAD)
        moved_SK = np.where(self.next_SK == DEAD, DEAD, self.next_SK + 1)
        start_K = np.where(start_K == DEAD, DEAD, start_K + 1)
        next_SK = np.vstack([np.append(start_K, 1), np.hstack([moved_SK, moved_SK[:, [space]]])])
        accepts_S = np.append(bool(optional and self.accepts_S[0]), self.accepts_S)
        return Automaton(next_SK.astype(np.int32), class_of_byte, accepts_S, self.what)


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Automaton:
    """The automaton of a regular expression. Raises `UserError` for what it cannot say, and if nothing matches."""
    return determine(parse(pattern), f"pattern {shown(pattern)}")


@lru_cache(maxsize=256)
def compile_choices(texts: tuple[str, ...]) -> Automaton:
    """The automaton that matches exactly these texts."""
    options = (Sequel(tuple(Chars(((ord(c), ord(c)),)) for c in text)) for text in texts)
    return determine(Either(tuple(options)), "choices")


def determine(tree: Node, what: str) -> Automaton:
    machine = Nondeterministic(what)
    start = machine.state()
    end = machine.add(tree, start)
    cuts = sorted({0} | {cut for steps in machine.steps for low, high, _ in steps for cut in (low, high + 1)})
    class_of_byte = np.searchsorted(cuts, np.arange(256), side="right") - 1
    width = int(class_of_byte[-1]) + 1
    numbers = {(first := machine.closure({start})): 0}
    waiting, rows, accepts = [first], [], []
    for states in waiting:  # grows while it is read
        reached: list[set[int]] = [set() for _ in range(width)]
        for state in states:
            for low, high, there in machine.steps[state]:
                for kind in range(class_of_byte[low], class_of_byte[high] + 1):
                    reached[kind].add(there)
        row = [DEAD] * width
        for kind, targets in enumerate(reached):
            if targets:
                found = machine.closure(targets)
                if found not in numbers:
                    if len(numbers) >= 2 * MOST_STATES:
                        raise too_large(what)
                    numbers[found] = len(numbers)
                    waiting.append(found)
                row[kind] = numbers[found]
        rows.append(row)
        accepts.append(end in states)
    next_SK, accepts_S = minimal(np.array(rows, dtype=np.int32), np.array(accepts), what)
    if len(next_SK) > MOST_STATES:
        raise too_large(what)
    return Automaton(next_SK, class_of_byte, accepts_S, what)


def minimal(next_SK: np.ndarray, accepts_S: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The same without states that lead nowhere, and with one state for all that match the same."""
    useful_S = np.append(accepts_S, False)  # the last entry is DEAD's
    while True:
        wider_S = useful_S.copy()
        wider_S[:-1] |= useful_S[next_SK].any(1)
        if (wider_S == useful_S).all():
            break
        useful_S = wider_S
    if not useful_S[0]:
        raise UserError(f"{what} matches no text at all; mend it")
    next_SK = np.where(useful_S[next_SK], next_SK, DEAD)
    block_S = refined(next_SK, accepts_S)
    # Unreachable blocks are those of states just cut off.
    _, chosen = np.unique(block_S, return_index=True)
    merged_SK = np.append(block_S, DEAD)[next_SK[chosen]].astype(np.int32)
    return reachable(merged_SK, accepts_S[chosen])


def refined(next_SK: np.ndarray, accepts_S: np.ndarray) -> np.ndarray:
    """The block of each state: those of a block match the same.

    A chain of S states takes S rounds, so rounds first tell states apart by a sum of their rows, which is quick; where
    two rows that differ have one sum, the exact rounds behind them find it.
    """
    factor_K = np.random.default_rng(0).integers(1 << 62, size=next_SK.shape[1] + 1, dtype=np.int64) | 1
    block_S, count = accepts_S.astype(np.int64), 1
    while True:
        rows_SK = np.append(block_S, DEAD)[next_SK]
        sums_S = rows_SK @ factor_K[:-1] + block_S * factor_K[-1]  # wraps around
        values, finer_S = np.unique(sums_S, return_inverse=True)
        if len(values) <= count:
            break
        block_S, count = finer_S, len(values)
    while True:
        rows_SK = np.append(block_S, DEAD)[next_SK].astype(np.int32)
        seen: dict[tuple[int, bytes], int] = {}
        block_S = np.array(
            [seen.setdefault((block, row.tobytes()), len(seen)) for block, row in zip(block_S, rows_SK, strict=True)],
            dtype=np.int32,
        )
        if len(seen) == count:
            return block_S
        count = len(seen)


def reachable(next_SK: np.ndarray, accepts_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Only the states that the start leads to, numbered in the order they are met."""
    order, seen = [0], {0}
    for state in order:  # grows while it is read
        for there in next_SK[state].tolist():
            if there != DEAD and there not in seen:
                seen.add(there)
                order.append(there)
    number_S = np.full(len(next_SK) + 1, DEAD, dtype=np.int32)
    number_S[order] = np.arange(len(order))
    return number_S[next_SK[order]], accepts_S[order]


def too_large(what: str) -> UserError:
    return UserError(f"{what} needs more than {MOST_STATES} states; use smaller counts or fewer alternatives")


def utf8_ranges(low: int, high: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Sequences of byte ranges that together write exactly the code points from `low` to `high`."""
    for limit in UTF8_LIMITS:
        if low <= limit < high:
            yield from utf8_ranges(low, limit)
            yield from utf8_ranges(limit + 1, high)
            return
    if SURROGATES[0] <= low <= SURROGATES[1]:
        return
    # Split until all bytes behind the first that differs run over their whole range.
    for tail in (6, 12, 18):
        size = 1 << tail
        if high >= 0x80 and low // size != high // size:
            if low % size:
                yield from utf8_ranges(low, low | (size - 1))
                yield from utf8_ranges((low | (size - 1)) + 1, high)
                return
            if high % size != size - 1:
                yield from utf8_ranges(low, (high & ~(size - 1)) - 1)
                yield from utf8_ranges(high & ~(size - 1), high)
                return
    yield tuple(zip(chr(low).encode(), chr(high).encode(), strict=True))
