"""What a prepared folder says about itself: ``manifest.json``, written last and read first.

    Manifest.load("data/sotu").splits["validation"].bytes

It holds no time of day and no machine's name: the same source, settings and versions give the same file.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.files import parse_json

FILE = "manifest.json"
SCHEMA_VERSION = 1
SPLITS = ("train", "validation")  # that each folder has; --by adds validation-LABEL
DTYPES = {"uint8": 1, "uint16": 2, "uint32": 4}


@dataclass(frozen=True)
class Shard:
    file: str
    tokens: int
    sha256: str


@dataclass(frozen=True)
class Split:
    documents: int
    tokens: int  # end-of-sequence tokens included
    bytes: int  # of UTF-8 text: the divisor of bits per byte
    shards: list[Shard]


@dataclass(frozen=True)
class Manifest:
    """The facts of one prepared folder; ``manifest["vocab_size"]`` works too, with the names in the file."""

    settings: dict[str, Any]  # what was asked for, as far as it decides what is in the folder
    fingerprint: str  # of the source: names, sizes and times of its files
    tokenizer_hash: str
    vocab_size: int
    eos_id: int
    dtype: str  # of the shards, little-endian
    splits: dict[str, Split]
    duplicates: int  # documents dropped because an identical one came before
    empty: int  # documents dropped because they hold nothing but white space
    skipped: list[str]  # files or lines left out because they are not UTF-8
    versions: dict[str, str]
    schema_version: int = SCHEMA_VERSION
    # Not in the file:
    folder: Path = field(default=Path(), compare=False)
    created: bool = field(default=False, compare=False)  # False where `prepare` found nothing to do

    def __getitem__(self, name: str) -> Any:
        return self.to_dict()[name]

    def to_dict(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        del fields["folder"], fields["created"]
        return {"schema_version": fields.pop("schema_version"), **fields}

    def to_json(self) -> str:
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"
        # The name of a file need not be UTF-8; what is not becomes an escape that JSON reads back.
        return text.encode("utf-8", "backslashreplace").decode()

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.folder}: vocabulary {self.vocab_size}, {self.dtype}"]
        width = max(10, *map(len, self.splits))
        for name, split in self.splits.items():
            lines.append(
                f"  {name:<{width}} {split.documents:>12,} documents {split.tokens:>15,} tokens"
                f" {split.bytes:>15,} bytes  {split.bytes / split.tokens:.2f} bytes/token"
                f"  {len(split.shards)} shard(s)"
            )
        dropped = {"duplicate": self.duplicates, "empty": self.empty, "not UTF-8": len(self.skipped)}
        if any(dropped.values()):
            lines.append("  left out   " + ", ".join(f"{count} {why}" for why, count in dropped.items() if count))
        return "\n".join(lines)

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Reads and checks ``manifest.json``; raises `UserError` naming what is wrong with it."""
        folder = Path(folder)
        path = folder / FILE
        if not folder.is_dir():
            raise UserError(f"data folder {folder} does not exist; make it with `unmask prepare SOURCE --out {folder}`")
        try:
            fields = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(
                f"{folder} has no {FILE}, so `unmask prepare` did not make it (or did not finish)"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); prepare the data again with --force") from error
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path} has schema version {version!r}, this unmask reads {SCHEMA_VERSION}; prepare it again"
            )
        try:
            splits = {}
            for name in dict.fromkeys((*SPLITS, *fields["splits"])):
                split = fields["splits"][name]
                splits[name] = Split(**{**split, "shards": [Shard(**shard) for shard in split["shards"]]})
            manifest = cls(**{**fields, "splits": splits}, folder=folder)
            sums = all(split.tokens == sum(shard.tokens for shard in split.shards) for split in splits.values())
            if not sums or manifest.dtype not in DTYPES:
                raise ValueError("the shards do not add up to the splits")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}); prepare the data again with --force") from error
        return manifest
