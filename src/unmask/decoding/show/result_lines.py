"""Results as JSON lines in the order of their prompts, in a file that goes on where a killed process left it.

    with ResultFile("out.jsonl") as out:
        if (kept := out.find(index, sample, settings_hash)) is None:
            row = {"index": index, "settings_hash": settings_hash, ...}
        out.put(row or kept)
        out.finish()

    unmask sample RUN --prompts FILE --out out.jsonl

What is there already and agrees is kept where it lies, and the rest is written behind it: a kill leaves whole lines and
at most a part of one, which is dropped. Where old lines stand behind a gap, as when one bad line was mended, all is
merged into a file beside (`.NAME.partial`) that takes the old one's place when it is whole; both are read if that is
killed too. A line at a time is read.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from unmask.errors import UserError
from unmask.files import check_writable

COPIED_AT_ONCE = 1 << 20
Key = tuple[int, int]  # index of the prompt, number of its sample


class OldLine(NamedTuple):
    """A result that an earlier process wrote."""

    key: Key
    settings_hash: str
    line: bytes
    end: int  # offset of what follows it


def as_line(row: dict[str, Any]) -> bytes:
    """JSON in one line; halves of surrogate pairs, which UTF-8 cannot write, as escapes."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, allow_nan=False).encode() + b"\n"


class ResultStream:
    """The same on stdout, which holds nothing yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def find(self, index: int, sample: int, settings_hash: str) -> bytes | None:
        return None

    def put(self, line: bytes) -> None:
        if (raw := getattr(sys.stdout, "buffer", None)) is None:
            sys.stdout.write(line.decode())
        else:  # UTF-8, whatever the terminal's encoding: JSON is
            sys.stdout.flush()
            raw.write(line)
        sys.stdout.flush()

    def finish(self) -> None:
        pass


class ResultFile:
    """The same in a file. `put` takes lines in rising order of their keys, each that `find` returned among them."""

    def __init__(self, path: str | Path) -> None:
        """Raises `UserError` for a file that cannot be written, that another process writes, or of another kind."""
        check_writable([path])
        self.name, self.path = path, Path(path).resolve()
        self.partial = self.path.with_name(f".{self.path.name}.partial")
        self._file = self._open()
        if self.partial.exists():  # a merge was killed
            self._fold()
        self._last = last_key(self.path)
        self._old = old_lines(self.path, self.name)
        self._next = next(self._old, None)
        self._whole = 0  # bytes of the file written into that are as they should be
        self._behind = False  # whether anything was put that did not lie there already
        self._merging: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self._merging is not None:
            self._merging.close()

    def find(self, index: int, sample: int, settings_hash: str) -> bytes | None:
        """The line of an earlier process, where it was written under the same settings."""
        key = (index, sample)
        while self._next is not None and self._next.key < key:
            self._next = next(self._old, None)
        if self._next is None or self._next.key != key or self._next.settings_hash != settings_hash:
            return None
        return self._next.line

    def put(self, line: bytes) -> None:
        """Writes a line, unless it lies there already."""
        if not self._behind:
            if os.pread(self._file.fileno(), len(line), self._whole) == line:
                self._whole += len(line)
                return
            self._begin(line)
        self._write(self._merging or self._file, line)

    def finish(self) -> None:
        """What no prompt stands for any more goes; a merged file takes its place."""
        target = self._merging or self._file
        target.truncate(self._whole)
        os.fsync(target.fileno())
        if self._merging is not None:
            self.partial.replace(self.path)

    # ------------------------------------------------------------------ inside

    def _open(self) -> BinaryIO:
        try:
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise UserError(f"{self.name} cannot be written: {error.strerror}; choose another file") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise UserError(f"another process is writing {self.name}; wait for it, or give another file") from error
        return file

    def _begin(self, line: bytes) -> None:
        """The first line that is new: behind what is there, or merged with old ones that come later."""
        self._behind = True
        if self._last is not None and self._last > key_of(json.loads(line)):
            self._merging = self.partial.open("w+b", buffering=0)
            with self.path.open("rb") as before:
                copy(before, self._merging, self._whole)
        else:
            self._file.truncate(self._whole)

    def _write(self, target: BinaryIO, line: bytes) -> None:
        try:
            left = memoryview(line)
            while left:
                left = left[target.write(left) :]
        except OSError as error:
            target.truncate(self._whole)  # no half of a line
            raise UserError(f"{self.name} cannot be written: {error.strerror}; free space, and go on") from error
        self._whole += len(line)

    def _fold(self) -> None:
        """One file out of what stood before a merge and what the merge had written, which is the newer."""
        folded = self.partial.with_suffix(".folding")
        with folded.open("wb") as file:
            for old in merged(old_lines(self.partial, self.partial), old_lines(self.path, self.name)):
                file.write(old.line)
        folded.replace(self.path)
        self.partial.unlink()
        self._file.close()
        self._file = self._open()


def old_lines(path: Path, name: str | Path) -> Iterator[OldLine]:
    """The whole lines of a file of results in rising order; what is damaged or out of order is left out. Raises
    `UserError` where the first line is no result: the file is somebody else's."""
    last: Key = (-1, 0)
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file):
            end += len(line)
            found = read_line(line, end)
            if number == 0 and found is None and not begins_like_ours(line):
                raise UserError(f"{name} is no file of results; give another one, or remove it")
            if found is not None and found.key > last:
                last = found.key
                yield found


def begins_like_ours(line: bytes) -> bool:
    """Whether it may be what a kill left of a first result."""
    head = b'{"index": '
    return line[: len(head)] == head[: len(line)] and not line.endswith(b"\n")


def read_line(line: bytes, end: int) -> OldLine | None:
    """None for half a line, and for one that is no result."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
        return OldLine(key_of(row), str(row["settings_hash"]), line, end)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def key_of(row: dict[str, Any]) -> Key:
    return int(row["index"]), int(row.get("sample", 0))


def last_key(path: Path) -> Key | None:
    """Of the last whole result of a file, read from its end; None where there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        width = 1 << 16
        while True:
            start = max(0, size - width)
            file.seek(start)
            lines = file.read(size - start).splitlines(keepends=True)
            found = [old for line in lines[1 if start else 0 :] if (old := read_line(line, 0)) is not None]
            if found or start == 0:
                return max((old.key for old in found), default=None)
            width *= 4


def merged(first: Iterator[OldLine], second: Iterator[OldLine]) -> Iterator[OldLine]:
    """Two files in rising order as one; of lines with the same key that of the first."""
    a, b = next(first, None), next(second, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.key <= b.key):
            assert a is not None
            yield a
            if b is not None and a.key == b.key:
                b = next(second, None)
            a = next(first, None)
        else:
            yield b
            b = next(second, None)


def copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """The first `size` bytes."""
    left = size
    while left:
        piece = source.read(min(left, COPIED_AT_ONCE))
        target.write(piece)
        left -= len(piece)
