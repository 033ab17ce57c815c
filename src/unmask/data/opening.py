"""Any file of text, told by what it holds: packed or not, UTF-8 or UTF-16, with a byte order mark or without.

    text = read_text("speech.txt.gz")                       # all of it, line ends as they are
    for number, line in read_lines("prompts.txt"): ...      # from 1, without their ends; cut at line feeds alone
    with OpenText(path, "notes.txt") as file: file.head, file.parts(), file.done

gzip, bzip2, xz and zstd are unpacked on the way. A byte order mark goes, and UTF-16 and UTF-32 that begin with one come
out as UTF-8. What is something else raises `NotText`, a `UserError` whose `reason` is for whoever skips it; what cannot
be read at all, or is cut short, is any other `UserError`. Whoever reads what a user wrote reads it through here.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from unmask.errors import UserError

CHUNK = 1 << 18  # bytes
PACKED_NAMES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
# What begins so is not text and is not unpacked here.
_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x04\x22\x4d\x18": "packed with lz4",
}
# The longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


class NotText(UserError):
    """A file that is not the text it should be. `reason` follows its name: ``is not UTF-8 (byte 3)``."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}; convert it to UTF-8")
        self.reason = reason


class OpenText:
    """A file being read. Raises `UserError` where it is not there or cut short, `NotText` where it is no text."""

    def __init__(self, path: str | Path, name: str | None = None, wanted: str = "") -> None:
        self.path, self.name = Path(path), str(path) if name is None else name
        self._wanted = wanted  # " as ..." in messages
        self.kind: str | None = None  # what packed it
        self.head = b""  # its first CHUNK, as UTF-8 without a mark
        self.whole = False  # whether that is all of it
        self._raw: IO[bytes] | None = None
        self._offset = 0  # bytes of the mark, for positions in messages

    def __enter__(self) -> OpenText:
        try:
            self._raw = open(self.path, "rb")  # noqa: SIM115
            self._chunks = self._as_utf8(self._unpacked(self._raw))
            self.head = next(self._chunks, b"")
            self._second = next(self._chunks, b"")
            self.whole = not self._second
        except BaseException as error:
            self._close()
            self._explain(error)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._close()

    @property
    def done(self) -> int:
        """Bytes of the file itself read so far."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def chunks(self) -> Iterator[bytes]:
        """The content from its beginning as UTF-8, once."""
        try:
            for chunk in (self.head, self._second):
                if chunk:
                    yield chunk
            self._second = b""
            yield from self._chunks
        except _ERRORS as error:
            self._explain(error)

    def parts(self) -> Iterator[str]:
        """The same as text. Raises `NotText` at the first byte that is not UTF-8."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        before = self._offset
        for chunk in self.chunks():
            pending = len(decoder.getstate()[0])
            try:
                part = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise NotText(self.name, f"is not UTF-8 (byte {before - pending + error.start})") from error
            before += len(chunk)
            if part:
                yield part
        if pending := len(decoder.getstate()[0]):
            raise NotText(self.name, f"is not UTF-8 (byte {before - pending})")

    def lines(self) -> Iterator[bytes]:
        """The same in lines without their line feeds, where alone it is cut."""
        rest: list[bytes] = []  # of a line that is longer than a chunk
        for chunk in self.chunks():
            first, *others = chunk.split(b"\n")
            rest.append(first)
            if others:
                line, rest = b"".join(rest), [others.pop()]
                yield line
                del line  # which may be long
                yield from others
        if last := b"".join(rest):
            yield last

    # ------------------------------------------------------------------ inside

    def _close(self) -> None:
        if self._raw is not None:
            self._raw.close()

    def _explain(self, error: BaseException) -> None:
        """Raises the one line where `error` is of the file and not yet one."""
        if isinstance(error, _ERRORS):
            why = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
            raise UserError(f"{self.name} cannot be read{self._wanted}: {why}") from error

    def _unpacked(self, raw: IO[bytes]) -> Iterator[bytes]:
        begin = raw.read(16)
        self.kind = _packing(begin)
        named = PACKED_NAMES.get(self.path.suffix.lower())
        if self.kind is None and named and begin:
            what = f"Not a {'gzipped' if named == 'gzip' else named} file"
            raise UserError(f"{self.name} cannot be read: {what}, against its name; rename it, or fetch it again")
        for magic, what in _OTHERS.items():
            if begin.startswith(magic):
                raise NotText(self.name, f"is {what}, which is not read; unpack it")
        raw.seek(0)
        if self.kind == "zstd":
            return _zstd(raw, self.name)
        unpack: dict[str | None, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
        stream = unpack[self.kind](raw) if self.kind in unpack else raw
        return iter(lambda: stream.read(CHUNK), b"")

    def _as_utf8(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(chunks, b"")
        while len(first) < CHUNK and (more := next(chunks, b"")):
            first += more
        mark, encoding = next(((mark, codec) for mark, codec in _MARKS if first.startswith(mark)), (b"", "utf-8"))
        self._offset, first = len(mark), first[len(mark) :]
        if not mark and (seems := _unmarked(first)) is not None:
            raise NotText(self.name, f"seems to be {seems} without a byte order mark")
        if encoding == "utf-8":
            if first:
                yield first
            yield from chunks
            return
        decoder = codecs.getincrementaldecoder(encoding)()
        label = encoding[: encoding.rindex("-")].upper()
        try:
            if part := decoder.decode(first).encode():
                yield part
            for chunk in chunks:
                if part := decoder.decode(chunk).encode():
                    yield part
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise NotText(self.name, f"begins as {label} but is not ({error.reason})") from error


def read_text(path: str | Path, name: str | None = None) -> str:
    """A file's whole text. Raises `UserError`."""
    with OpenText(path, name, " as UTF-8 text") as file:
        return "".join(file.parts())


def read_lines(path: str | Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of each line, blank ones too. Raises `UserError` naming file and line."""
    with OpenText(path, name) as file:
        for number, line in enumerate(file.lines(), 1):
            try:
                yield number, line.decode().removesuffix("\r")
            except UnicodeDecodeError as error:
                raise NotText(f"{file.name}:{number}", "is not UTF-8") from error


def _packing(begin: bytes) -> str | None:
    if begin.startswith(b"\x1f\x8b"):
        return "gzip"
    if begin.startswith(b"BZh") and begin[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if begin.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    # Of zstd also the frames that hold no data, with which some tools begin.
    skippable = begin[1:4] == b"\x2a\x4d\x18" and begin[0] & 0xF0 == 0x50
    return "zstd" if begin.startswith(b"\x28\xb5\x2f\xfd") or skippable else None


def _unmarked(begin: bytes) -> str | None:
    """UTF-16 or -32 by its zero bytes where every other character of the beginning is Latin."""
    sample = begin[:64]
    if len(sample) < 4:
        return None
    if any(sample[0::2]) and not any(sample[1::2]) or any(sample[1::2]) and not any(sample[0::2]):
        return "UTF-32" if len(sample) >= 8 and sum(map(bool, sample)) <= len(sample) // 4 else "UTF-16"
    return None


def _zstd(raw: IO[bytes], name: str) -> Iterator[bytes]:
    """The content of all frames; one that ends early is an EOFError, as gzip's is."""
    try:
        import zstandard
    except ImportError as error:
        raise UserError(
            f"{name} is packed with zstd, which needs zstandard: pip install 'unmask[data]'; or unpack it"
        ) from error
    unpacker, fed = _zstd_frame(zstandard), False
    while data := raw.read(1 << 14):  # all that a read unpacks to comes at once
        while data:
            try:
                part, fed = unpacker.decompress(data), True
            except zstandard.ZstdError as error:
                raise UserError(f"{name} cannot be read: {error}") from error
            if part:
                yield part
            if not unpacker.eof:
                break
            data, unpacker, fed = unpacker.unused_data, _zstd_frame(zstandard), False
    if fed:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")


def _zstd_frame(zstandard: Any) -> Any:
    # Windows of 2 GB: what `zstd --long=31` writes, as some published dumps are.
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
