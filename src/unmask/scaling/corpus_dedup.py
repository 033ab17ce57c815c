"""Passages that stand in a corpus already, word for word or nearly: found by shingles of eight words.

    seen = Seen()
    for document in documents:
        runs = seen.fresh(document.passages)        # what is new of it, as runs of neighbouring passages

A passage is old where at least half of its shingles were in earlier documents (Broder, "On the resemblance and
containment of documents", 1997: containment). Shingles are kept as two bits each of a map of 256 MB (Bloom, "Space/time
trade-offs in hash coding", 1970), which at 20 million shingles takes a new one for old in 4 of 10,000 cases. A document
is not compared with itself: a refrain stays.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

WORDS = 8
OLD_SHARE = 0.5
_WORD = re.compile(r"\w+")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Seen:
    """The shingles of all documents so far, in a map of 2**bits bits (at most 32)."""

    def __init__(self, bits: int = 31) -> None:
        self._mask, self._numbers = np.uint64((1 << bits) - 1), _Numbers()
        self._map = np.zeros(1 << (bits - 3), dtype=np.uint8)

    def fresh(self, passages: list[str]) -> list[list[str]]:
        """The new passages in runs of neighbours; remembers them. A passage of fewer words goes with the one before."""
        hashes, owner = shingles(passages, self._numbers, WORDS)
        if not hashes.size:
            return []
        counts = np.bincount(owner, minlength=len(passages))
        old = np.bincount(owner, weights=self._known(hashes), minlength=len(passages))
        new = old < OLD_SHARE * counts
        judged = np.flatnonzero(counts)
        # A short passage takes the verdict of the last judged one before it, at the beginning of the first one.
        place = np.maximum(np.searchsorted(judged, np.arange(len(passages)), side="right") - 1, 0)
        kept = new[judged][place]
        self._remember(hashes[kept[owner]])
        runs = itertools.groupby(zip(passages, kept.tolist(), strict=True), key=lambda pair: pair[1])
        return [[passage for passage, _ in run] for new, run in runs if new]

    def _known(self, hashes: np.ndarray) -> np.ndarray:
        known = np.ones(hashes.shape, dtype=np.uint8)
        for place in self._places(hashes):
            known &= self._map[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8)
        return known

    def _remember(self, hashes: np.ndarray) -> None:
        for place in self._places(hashes):
            bit = np.left_shift(np.uint8(1), (place & np.uint64(7)).astype(np.uint8))
            np.bitwise_or.at(self._map, place >> np.uint64(3), bit)

    def _places(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return hashes & self._mask, (hashes >> np.uint64(32)) & self._mask


def new_since(older: Iterable[list[str]], newer: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """For each newer document (its passages) the runs of passages that no older one holds; none twice."""
    seen = Seen()
    for passages in older:
        seen.fresh(passages)
    for passages in newer:
        yield seen.fresh(passages)


def quoted(texts: list[str], others: Iterable[str], words: int) -> list[tuple[int, int]]:
    """For each text (its shingles that stand in any of the others, all its shingles); exact, no map of bits."""
    numbers = _Numbers()
    own = [shingles([text], numbers, words)[0] for text in texts]
    all_of_them = np.unique(np.concatenate([*own, np.empty(0, np.uint64)]))
    met = np.zeros(all_of_them.size + 1, dtype=bool)
    for other in others:
        hashes = shingles([other], numbers, words)[0]
        place = np.searchsorted(all_of_them, hashes)
        there = place < all_of_them.size
        met[place[there][all_of_them[place[there]] == hashes[there]]] = True
    return [(int(met[np.searchsorted(all_of_them, hashes)].sum()), int(hashes.size)) for hashes in own]


class _Numbers(dict[str, int]):
    """Words as numbers that are the same in every process."""

    def __missing__(self, word: str) -> int:
        number = self[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return number


def shingles(passages: list[str], numbers: dict[str, int], words: int) -> tuple[np.ndarray, np.ndarray]:
    """uint64 hashes of all windows of so many words inside a passage, and the passage of each.

    Where no passage has so many words, the whole text is one shingle of the first.
    """
    ids_of, owners = [], []
    for i, passage in enumerate(passages):
        word_ids = [numbers[word] for word in _WORD.findall(passage.casefold())]
        ids_of += word_ids
        owners += [i] * len(word_ids)
    if not ids_of:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    ids, owner = np.array(ids_of, dtype=np.uint64), np.array(owners)
    inside = owner[: max(0, ids.size - words + 1)] == owner[words - 1 :]
    if not inside.any():
        return _mixed(ids, ids.size), owner[:1]
    return _mixed(ids, words)[inside], owner[: inside.size][inside]


def _mixed(ids: np.ndarray, span: int) -> np.ndarray:
    """One hash of each window of `span` ids."""
    n = ids.size - span + 1
    mixed = np.zeros(n, dtype=np.uint64)
    for i in range(span):
        mixed = (mixed ^ ids[i : i + n]) * _GOLDEN
        mixed ^= mixed >> np.uint64(29)
    return mixed
