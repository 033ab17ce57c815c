"""Which documents are held out: a share by hash of text and seed, those dated since a day, or those that say so.

    SplitRule.parse("random:0.05", seed=0).side(document)       # TRAIN or VALIDATION
    held_out_end(documents, share=0.05, chars=n)                # where there are too few documents to hold some out

By hash, a document's side depends on nothing but its text and the seed: adding documents moves none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unmask.data.document import Document
from unmask.data.sources import iso_date
from unmask.errors import UserError

TRAIN, VALIDATION = range(2)
SIDES = ("train", "validation")


@dataclass(frozen=True)
class SplitRule:
    kind: str  # random, date or field
    fraction: float = 0.0
    since: str = ""
    seed: int = 0
    field: str = ""  # holds "train" or "validation"

    @classmethod
    def parse(cls, spec: str, seed: int) -> SplitRule:
        kind, _, value = spec.partition(":")
        if kind == "random":
            try:
                fraction = float(value)
            except ValueError:
                fraction = 0.0
            if 0.0 < fraction < 1.0:
                return cls(kind, fraction=fraction, seed=seed)
        elif kind == "date" and iso_date(value) == value:
            return cls(kind, since=value)
        elif kind == "field" and value:
            return cls(kind, field=value)
        raise UserError(
            f"--split is '{spec}'; write random:FRACTION (0 to 1), as random:0.05, date:YEAR[-MONTH[-DAY]], "
            "or field:NAME"
        )

    def side(self, document: Document, digest: bytes) -> int:
        if self.kind == "date":
            if document.date is None:
                raise UserError(
                    f"--split date: {document.name} has no date (a file name that begins with one, "
                    "or a field named date); use random:0.05"
                )
            return VALIDATION if document.date >= self.since else TRAIN
        if self.kind == "field":
            side = document.marks.get(self.field)
            if side not in SIDES:
                what = f"no field '{self.field}'" if side is None else f"{str(side)[:40]!r} in '{self.field}'"
                raise UserError(f"--split field: {document.name} has {what}; it must be {' or '.join(SIDES)}")
            return SIDES.index(side)
        key = (self.seed % (1 << 64)).to_bytes(8, "little")
        draw = int.from_bytes(hashlib.blake2b(digest, key=key, digest_size=8).digest(), "little")
        return VALIDATION if draw < self.fraction * 2.0**64 else TRAIN


def held_out_end(documents: Iterable[Document], share: float, chars: int) -> Iterator[tuple[int, Document]]:
    """The documents with their side where the last `share` of all their `chars` characters is held out.

    The document in which that begins is cut in two there.
    """
    begin, at = max(1, min(chars - 1, round((1.0 - share) * chars))), 0
    for document in documents:
        length = document.facts.chars
        if at < begin < at + length and length > 1:
            head, tail = document.cut((begin - at) / length)
            yield TRAIN, head
            yield VALIDATION, tail
        else:
            yield (TRAIN if at < begin else VALIDATION), document
        at += length
