"""Records of a user's file, whatever holds them: JSON lines, one JSON array, JSON values, parquet, Arrow.

    for where, record in read_records("c4-train.00000.json.gz"): ...      # (":17", {...}), (" record 3", {...})

What a file holds is seen from its beginning; its name decides only where that leaves a doubt. Lines are cut at line
feeds alone, so a string may hold any other break that Unicode knows. Memory is that of the longest record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from unmask.data.opening import PACKED_NAMES, NotText, OpenText
from unmask.errors import UserError, nearest
from unmask.files import parse_json

LINES, ARRAY, VALUES = "lines", "array", "values"  # the ways to lay out JSON records
PARQUET, ARROW = "parquet", "arrow"
# name of the file or line, and why it is left out
Skip = Callable[[str, str], None]
Advance = Callable[[int], None]  # bytes of the file read so far

_LINE_NAMES = (".jsonl", ".ndjson", ".jsonlines")
_SHORT = 16  # an error this near to the end of what was read may be of what was not
_MAGIC = {b"PAR1": PARQUET, b"ARROW1": ARROW}
_ARROW_STREAM = b"\xff\xff\xff\xff"


def read_records(path: str | Path, name: str | None = None) -> Iterator[tuple[str, Any]]:
    """(where it stands, its value) of each record of a file; `where` follows the file's name in messages.

    Raises `UserError` naming file and line for what is no record, no JSON, or cannot be read.
    """
    path, name = Path(path), str(path) if name is None else name
    if (kind := table_kind(path, name)) is not None:
        yield from table_records(path, name, kind)
        return
    with OpenText(path, name) as file:
        yield from json_records(file, json_kind(file, "") or LINES)


def table_kind(path: Path, name: str) -> str | None:
    """`parquet` or `arrow` for a file that is one, or that is called so; None for any other."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from error
    if begin.startswith(_ARROW_STREAM):
        return ARROW
    for magic, kind in _MAGIC.items():
        if begin.startswith(magic):
            return kind
    return {".parquet": PARQUET, ".arrow": ARROW}.get(path.suffix.lower())


def json_kind(file: OpenText, field: str) -> str | None:
    """How JSON records lie in a file, None where it is plain text.

    field: where the name does not say JSON, its records are told from text by their having this field; with "" every
    file is one of records.
    """
    suffixes = [suffix.lower() for suffix in file.path.suffixes]
    if suffixes and suffixes[-1] in PACKED_NAMES:
        suffixes.pop()
    named_lines = bool(suffixes) and suffixes[-1] in _LINE_NAMES
    named = not field or named_lines or suffixes[-1:] == [".json"]
    begin = file.head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if begin[:1] not in ("{", "["):
        return LINES if named else None
    line, _, rest = begin.partition("\n")
    cut = not rest.strip() and not file.whole  # the line may go on
    try:
        first, complete = parse_json(line), True
    except ValueError:
        first, complete = None, False
    if named:
        return _layout(begin, line, complete, bool(rest.strip()) or cut, first, named_lines)
    if isinstance(first, dict):
        return LINES if field in first else None
    if begin[0] == "{" and cut and "\n" not in begin:  # a line longer than what was read
        return LINES if re.match(r'\{\s*"', begin) and re.search(rf'"{re.escape(field)}"\s*:\s*"', begin) else None
    if begin[0] == "[" and field in (_first_element(begin) or {}):
        return ARRAY
    return None


def _layout(begin: str, line: str, complete: bool, more: bool, first: Any, named_lines: bool) -> str:
    if begin[0] == "[":
        if complete:  # lists as records of their own, one a line, or one list of records
            rows = isinstance(first, list) and bool(first) and all(isinstance(row, dict) for row in first)
            return ARRAY if not more and (rows or not named_lines) else LINES
        begun = line.strip() in ("[", "[{") or _first_element(begin) is not None
        return ARRAY if begun or not named_lines else LINES
    if complete or "\n" not in begin:
        return LINES
    return VALUES if not named_lines or line.strip() == "{" else LINES


def _first_element(begin: str) -> dict[str, Any] | None:
    """The first object of an array whose text begins so, None where it cannot be told."""
    try:
        element = json.JSONDecoder().raw_decode(begin[1:].lstrip())[0]
    except (ValueError, RecursionError):
        return None
    return element if isinstance(element, dict) else None


# ------------------------------------------------------------------ JSON


def json_records(
    file: OpenText, kind: str, skip: Skip | None = None, advance: Advance | None = None
) -> Iterator[tuple[str, Any]]:
    """The records of an open file of JSON, as `read_records` gives them.

    skip: is told of lines that are not UTF-8, which are errors without it.
    """
    yield from _line_records(file, skip, advance) if kind == LINES else _value_records(file, kind == ARRAY, advance)


def _line_records(file: OpenText, skip: Skip | None, advance: Advance | None) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file.lines(), 1):
        if advance is not None:
            advance(file.done)
        if not line or line.isspace():
            continue
        where = f":{number}"
        try:
            record = parse_json(line.decode())
        except UnicodeDecodeError as error:
            if skip is None:
                raise NotText(file.name + where, "is not UTF-8") from error
            skip(file.name + where, "is not UTF-8")
            continue
        except ValueError as error:
            raise UserError(f"{file.name}{where} is not a line of JSON: {error}") from error
        del line  # which may be long
        yield where, record


def _value_records(file: OpenText, array: bool, advance: Advance | None) -> Iterator[tuple[str, Any]]:
    """The elements of one array, or values one after another, decoded as they come."""
    text = _Ahead(file)
    number = 0
    if array:
        text.expect("[")
    while (sign := text.peek()) != "":
        if array and sign == "]" and (number == 0 or not text.comma):
            text.expect("]")
            if text.peek() != "":
                raise text.error("there is more behind the end of the array")
            return
        number += 1
        value = text.value()
        if advance is not None:
            advance(file.done)
        yield f" record {number}", value
        if array:
            text.comma = text.peek() == ","
            if text.comma:
                text.expect(",")
            elif text.peek() != "]":
                raise text.error("Expecting ',' or ']'" if text.peek() else "the array does not end")
    if array:
        raise text.error("the array does not end")


class _Ahead:
    """JSON text read ahead as far as the value at hand needs."""

    def __init__(self, file: OpenText) -> None:
        self._file, self._parts = file, file.parts()
        self._text, self._at, self._line, self._ended = "", 0, 1, False
        self._decoder = json.JSONDecoder()
        self.comma = False

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            rest = len(self._text)
            while self._at < rest and self._text[self._at] in " \t\r\n\ufeff":
                self._at += 1
            if self._at < rest or not self._more(1):
                return self._text[self._at : self._at + 1]

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            raise self.error(f"Expecting '{sign}'")
        self._at += 1

    def value(self) -> Any:
        """The value that begins here. What is read ahead doubles, so a long value costs a few times its length."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unsure = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _SHORT
                if unsure and self._more(len(self._text) - self._at):
                    continue
                raise self.error(error.msg, error.pos) from error
            except ValueError as error:  # an integer of thousands of digits
                raise self.error(str(error)) from error
            except RecursionError as error:
                raise self.error("it is nested too deeply") from error
            if end == len(self._text) and self._more(1):  # a number may go on
                continue
            self._at = end
            return value

    def error(self, why: str, at: int | None = None) -> UserError:
        line = self._line + self._text.count("\n", 0, self._at if at is None else at)
        return UserError(f"{self._file.name}:{line} is not JSON: {why}")

    def _more(self, least: int) -> bool:
        """Reads at least so many characters on; False at the end."""
        parts, count = [], 0
        try:
            while count < least and not self._ended:
                part = next(self._parts, "")
                self._ended = not part
                parts.append(part)
                count += len(part)
        except NotText as error:  # records before it are read already, so it cannot be skipped
            raise UserError(str(error)) from error
        if not count:
            return False
        self._line += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + "".join(parts)
        self._at = 0
        return True


# ------------------------------------------------------------------ tables


def table_records(
    path: Path, name: str, kind: str, columns: tuple[str, ...] = (), advance: Advance | None = None
) -> Iterator[tuple[str, Any]]:
    """The rows of a table, as `read_records` gives them.

    columns: the ones to read where they are there, of which the first must be; all where none is named.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise UserError(f"{name} needs pyarrow; install it with: pip install 'unmask[data]'") from error
    row = 0
    try:
        with closing(_batches(path, kind, columns, name)) as batches:
            for share, batch in batches:
                for record in batch.to_pylist():
                    row += 1
                    yield f":{row}", record
                if advance is not None:
                    advance(round(share * path.stat().st_size))
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        what = "parquet" if kind == PARQUET else "Arrow"
        raise UserError(f"{name} is not a readable {what} file: {str(error).partition(chr(10))[0]}") from error


def _batches(path: Path, kind: str, columns: tuple[str, ...], name: str) -> Generator[tuple[float, Any]]:
    """(share of the file up to its end, rows) of one stretch after another."""
    if kind == PARQUET:
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(path) as file:
            names, done = _present(file.schema_arrow.names, columns, name), 0
            for batch in file.iter_batches(batch_size=256, columns=names):
                done += batch.num_rows
                yield done / max(1, file.metadata.num_rows), batch
        return
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(source)
            stretches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            source.seek(0)
            reader = stretches = pa.ipc.open_stream(source)
        names = _present(reader.schema.names, columns, name)
        for batch in stretches:
            for start in range(0, batch.num_rows, 256):
                yield source.tell() / max(1, source.size()), batch.slice(start, 256).select(names or batch.schema.names)


def _present(names: list[str], columns: tuple[str, ...], name: str) -> list[str] | None:
    if not columns:
        return None
    if columns[0] not in names:
        raise no_field(name, columns[0], names)
    return [column for column in columns if column in names]


def no_field(name: str, field: str, names: list[str]) -> UserError:
    return UserError(
        f"{name} has no field '{field}'{nearest(field, names)}; "
        f"it has {', '.join(map(str, names))}; name one with --field"
    )
