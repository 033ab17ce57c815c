"""Raw text to a folder that training reads: `unmask prepare`.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024 --split date:2005
    prepare(PrepareOptions(sources=["sotu"], out="data/sotu", tokenizer="bpe:1024"))

Documents are read in order, exact duplicates dropped, each put into train or validation, encoded (on several processes
where that pays), and written as shards with the end-of-sequence token after each document. Where there are too few
documents to hold some out, the end of the text is. A BPE is trained on documents of the training split only. The folder
appears when it is whole; asked for again, nothing is done. With several workers, a script calls `prepare` under
``if __name__ == "__main__"``, as multiprocessing demands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from unmask.data.document import Document
from unmask.data.encoding import encode_batches
from unmask.data.labels import LabelledWriter
from unmask.data.manifest import FILE as MANIFEST_FILE
from unmask.data.manifest import SPLITS, Manifest, Split
from unmask.data.options import PrepareOptions
from unmask.data.progress import Progress, StderrProgress, ticking
from unmask.data.publish import building, clear_lock
from unmask.data.shards import ShardWriter, check_shards, narrowest_dtype
from unmask.data.sources import Corpus, open_corpus
from unmask.data.split import TRAIN, VALIDATION, held_out_end
from unmask.errors import UserError
from unmask.files import sync
from unmask.model.cutting import plain_pieces
from unmask.model.tokenizers import PIECE_CHARS, Tokenizer, bpe_size
from unmask.provenance import usable_cores, versions

NAMED_SKIPS = 20  # on stderr; the manifest names all
AUTO_BYTES = 16_000_000  # text that is worth a process of its own


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
    corpus = open_corpus(
        options.sources, options.field, options.date_field, without=Path(options.out), marks=options.marks
    )
    if (existing := _existing(options, corpus)) is not None:
        progress.note(f"{options.out} is already prepared with these settings; nothing to do")
        return existing
    for line in corpus.left_out:
        progress.note(line)
    with building(Path(options.out), replace=options.force) as partial:
        manifest = _Writing(options, corpus, progress).write(partial)
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
    clear_lock(out)
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
    for split in manifest.splits:
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


class _Writing:
    """One making of a folder: the documents are gone through for the split, for the tokenizer, and to be encoded."""

    def __init__(self, options: PrepareOptions, corpus: Corpus, progress: Progress) -> None:
        self._options, self._corpus, self._progress = options, corpus, progress
        self._total = corpus.n_bytes  # once: it is a sum over all files
        self._named: set[str] = set()  # files and lines of which something was told
        self._chars = 0  # of all text, where its end is held out
        corpus.tell = self._name
        corpus.watch = lambda: progress.update("reading", corpus.position, self._total)

    def write(self, partial: Path) -> Manifest:
        options, corpus = self._options, self._corpus
        self._look_for_both_sides()
        tokenizer = self._tokenizer()
        if tokenizer.eos_id is None:
            raise UserError(
                f"tokenizer '{options.tokenizer}' has no end-of-sequence token; "
                "name its eos_token in tokenizer_config.json"
            )
        tokenizer.save(partial)
        dtype = narrowest_dtype(tokenizer.vocab_size)
        writers = [ShardWriter(partial, name, dtype, options.shard_tokens) for name in SPLITS]
        labelled = LabelledWriter(partial, SPLITS[VALIDATION], dtype, options.shard_tokens, tokenizer.eos_id)
        tally = Tally()
        try:
            with closing(writers[TRAIN]), closing(writers[VALIDATION]), closing(labelled):
                documents = self._labelled(self._sided(tally), labelled)
                for encoded in encode_batches(documents, tokenizer, _workers(options.workers, self._total)):
                    for writer, ids in zip(writers, encoded, strict=True):
                        writer.write(ids)
                    if options.by is not None:
                        labelled.write(encoded[VALIDATION])
                    self._progress.update("encoding", corpus.position, self._total)
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process died; give --workers 1, "
                "or (from Python) call prepare under `if __name__ == '__main__'`"
            ) from error
        if tally.skipped:
            self._progress.note(
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
            }
            | labelled.splits(),
            duplicates=tally.duplicates,
            empty=tally.empty,
            skipped=tally.skipped,
            versions=versions(("numpy", "tokenizers")),
        )
        (partial / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        sync(partial / MANIFEST_FILE)
        return manifest

    def _name(self, name: str, what: str) -> None:
        """Says once what became of a file or line, for so many of them."""
        if name not in self._named and len(self._named) < NAMED_SKIPS:
            self._named.add(name)
            self._progress.note(f"{name} {what}")

    def _look_for_both_sides(self) -> None:
        """Reads on until there is a document on each side; where there is none, the end of the text is held out."""
        rule = self._options.rule
        if rule.kind != "random":
            return  # what is dated says itself where it belongs
        sides: set[int] = set()
        count = chars = 0
        for document in self._documents(Tally()):
            sides.add(rule.side(document, document.facts.digest))
            if len(sides) == 2:
                return
            count, chars = count + 1, chars + document.facts.chars
        if chars > 1:
            self._chars = chars
            what = "one document" if count == 1 else f"{count} documents, all on one side"
            self._progress.note(
                f"too few to hold some out whole ({what}): the last {100 * rule.fraction:.4g}% of the text is held out"
            )

    def _tokenizer(self) -> Tokenizer:
        options, progress = self._options, self._progress
        if (size := bpe_size(options.tokenizer)) is None:
            return Tokenizer.resolve(options.tokenizer)
        read: list[int] = []  # bytes of the sample, once it is whole

        def texts() -> Iterator[str]:
            seen = 0
            for side, document in self._sided(Tally()):
                if side == TRAIN:
                    whole = document.again is None
                    for text, _ in [(document.text, True)] if whole else plain_pieces(document.parts(), PIECE_CHARS):
                        seen += document.facts.n_bytes if whole else len(text.encode())
                        yield text
                        progress.update("reading for the tokenizer", self._corpus.position, self._total)
                        if seen >= options.tokenizer_bytes:
                            break
                if seen >= options.tokenizer_bytes:
                    break
            read.append(seen)

        with ticking(progress, f"learning {size:,} tokens from", lambda: read[0] if read else None):
            tokenizer = Tokenizer.resolve(options.tokenizer, texts(), progress.note)
        if tokenizer.vocab_size < size:
            progress.note(f"the text has no more than {tokenizer.vocab_size} pieces to learn; {size} were asked for")
        return tokenizer

    def _sided(self, tally: Tally) -> Iterator[tuple[int, Document]]:
        """Documents that are kept, with their side; counts them and what was dropped."""
        options, documents = self._options, self._documents(tally)
        if self._chars:
            sided = held_out_end(documents, options.rule.fraction, self._chars)
        else:
            sided = ((options.rule.side(document, document.facts.digest), document) for document in documents)
        for side, document in sided:
            tally.documents[side] += 1
            tally.bytes[side] += document.facts.n_bytes
            yield side, document

    def _labelled(
        self, documents: Iterator[tuple[int, Document]], writer: LabelledWriter
    ) -> Iterator[tuple[int, Document]]:
        """The same, while the writer is told whose each held-out document is."""
        by = self._options.by
        for side, document in documents:
            if by is not None and side == VALIDATION:
                if (label := document.marks.get(by)) is None:
                    raise UserError(f"--by {by}: {document.name} has no field '{by}'; leave out --by")
                writer.expect(str(label), document.facts.n_bytes)
            yield side, document

    def _documents(self, tally: Tally) -> Iterator[Document]:
        """What the source holds but empty documents, copies of earlier ones, and what is not text."""

        def skip(name: str, why: str) -> None:
            if self._options.strict:
                raise UserError(f"{name} {why}; convert it, or leave out --strict to skip it")
            tally.skipped.append(name)
            self._name(name, f"{why}: skipped")

        digests: set[bytes] = set()
        count = 0
        for document in self._corpus.documents(skip):
            if document.facts.blank:
                tally.empty += 1
                continue
            if self._options.dedup:
                if document.facts.digest in digests:
                    tally.duplicates += 1
                    continue
                digests.add(document.facts.digest)
            yield document
            count += 1
            if count == self._options.limit_docs:
                return


def _check_sides(options: PrepareOptions, tally: Tally) -> None:
    """Both splits must hold something; says why one does not."""
    total = sum(tally.documents)
    if not total:
        raise UserError(f"source {' '.join(options.sources)} holds no text; {tally.empty} document(s) were empty")
    for side, name in enumerate(SPLITS):
        if not tally.documents[side]:
            mends = {"random": "give more text", "field": "give records of both"}
            mend = mends.get(options.rule.kind, "give another date, or random:0.05")
            raise UserError(f"--split {options.split}: the {name} split would be empty ({total} document(s)); {mend}")


def _workers(asked: int, n_bytes: int | None) -> int:
    if asked:
        return asked
    cores = usable_cores()
    return cores if n_bytes is None else max(1, min(cores, n_bytes // AUTO_BYTES))
