"""What `unmask prepare` takes.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024
    prepare(PrepareOptions(["sotu"], "data/sotu", "bpe:1024"))

No heavy import: its help is shown from here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.options import Options, Result, argument, option


@dataclass
class PrepareOptions(Options):
    """Reads text, trains or loads a tokenizer, and writes packed tokens with a manifest."""

    sources: list[str] = argument("SOURCE", "files, folders, globs, hf:NAME, or sotu")
    out: str | Path = option(dataclasses.MISSING, "the data folder to make", metavar="FOLDER")
    tokenizer: str = option("bpe:4096", "bytes, bpe:SIZE, a folder, or a hub name")
    field: str = option("text", "the text's field in JSON lines, parquet and hub data")
    split: str = option("random:0.05", "random:SHARE, date:YEAR (held out since then), field:NAME")
    seed: int = option(0, "of the random split")
    limit_docs: int | None = option(None, "only the first so many documents", least=1)
    dedup: bool = option(True, "keep documents that stand there twice", flag="--no-dedup")
    shard_tokens: int = option(100_000_000, "tokens a file", least=1)
    date_field: str = option("date", "the date's field there")
    by: str | None = option(None, "also hold validation apart by this field's values", metavar="FIELD")
    tokenizer_bytes: int = option(1_000_000_000, "of training text that a BPE sees", least=1)
    workers: int = option(0, "processes; 0: by size and cores", least=0)
    strict: bool = option(False, "a file that is not UTF-8 is fatal")
    force: bool = option(False, "replace a folder prepared otherwise")

    def __post_init__(self) -> None:
        from unmask.data.split import SplitRule

        if isinstance(self.sources, str):
            self.sources = [self.sources]
        self.sources = [str(source) for source in self.sources]
        if not self.sources:
            raise UserError("no source given; name a file, a folder, a glob, hf:NAME or sotu")
        super().__post_init__()
        self.rule = SplitRule.parse(self.split, self.seed)

    @property
    def marks(self) -> tuple[str, ...]:
        """The fields of records that decide where a document goes."""
        return tuple(filter(None, (self.rule.field, self.by)))

    def settings(self) -> dict[str, Any]:
        """What decides the folder's content."""
        names = [f.name for f in dataclasses.fields(self)]
        return {n: getattr(self, n) for n in names if n not in ("out", "workers", "strict", "force")}

    def run(self) -> Result:
        from unmask.data.prepare import prepare

        manifest = prepare(self)
        lines = [f"{self.out}: " + ("made" if manifest.created else "already prepared, nothing to do")]
        for name, split in manifest.splits.items():
            lines.append(f"  {name}: {split.documents:,} documents, {split.tokens:,} tokens, {split.bytes:,} bytes")
        shown = {"created": manifest.created, "out": str(self.out), **manifest.to_dict()}
        return Result(shown, "\n".join(lines))
