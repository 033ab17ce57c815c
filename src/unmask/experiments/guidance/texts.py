"""The documents and the dictionary that items, rows and bases are made of, read once each.

    texts = Texts(own, Path("packages"))                          # own: the experiment's settings
    pool = texts.pool("continuation", tokenizer)
    for text, split in texts.period(): ...                        # what a base is trained on, and what is held out
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.experiments.guidance.items import Counts, Pool, Sizes, continuations, headwords, side_of
from unmask.experiments.speed.glosses import read_pairs
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus_packages import obtain
from unmask.scaling.corpus_table import SOURCES


class Texts:
    """`skipped`: rows of the user's dictionary that are no use, by reason."""

    def __init__(self, own: Mapping[str, Any], packages: Path) -> None:
        self._own, self._packages = own, packages
        self.counts = Counts(own["rows"], own["tune"], own["test"], own["held_out"])
        self.skipped: dict[str, int] = {}
        self._pairs: list[tuple[str, str]] | None = None

    def documents(self) -> Iterator[tuple[str, Sequence[str], str]]:
        """(title, keys that say what is held out together, text)."""
        self._packages.mkdir(parents=True, exist_ok=True)
        for name in self._own["texts"]:
            source = SOURCES[name]
            for document in source.read(obtain(source.package, self._packages)):
                yield document.title, document.keys, document.text

    def pairs(self) -> list[tuple[str, str]]:
        """(headword, gloss)."""
        if self._pairs is None:
            self._pairs, skipped = read_pairs(self._own["dictionary"], self._packages)
            self.skipped = {why: len(rows) for why, rows in skipped.items()}
        return self._pairs

    def pool(self, task: str, tokenizer: Tokenizer) -> Pool:
        """Raises `UserError` where too little is held out, or nothing is left to learn from."""
        own = self._own
        sizes = Sizes(own["prompt"], own["answer"], own["choices"][task], own["gloss"], own["wrong"] == "same")
        if task == "continuation":
            return continuations(self.documents(), tokenizer, sizes, self.counts)
        return headwords(self.pairs(), tokenizer, sizes, self.counts)

    def period(self) -> Iterator[tuple[str, str]]:
        """(text, split) of everything, for a base."""
        if "continuation" in self._own["tasks"]:
            for _, keys, text in self.documents():
                yield text, "train" if side_of(keys, self.counts) == "train" else "validation"
        if "headword" in self._own["tasks"]:
            for word, gloss in self.pairs():
                side = side_of([f"word {word.casefold()}"], self.counts)
                yield f"{word}: {gloss}", "train" if side == "train" else "validation"
