"""Any file of text gives its text, however it is packed and encoded; any other says in one line what it is."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data import opening
from unmask.data.opening import CHUNK, NotText, OpenText, read_lines, read_text
from unmask.errors import UserError

TEXT = "The people\r\nof Überfluß, 東京 \u2028 and \x85 👩‍👩‍👧\n\n"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "two.gz": lambda data: gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
    "utf-32-le": b"\xff\xfe\x00\x00",
    "utf-32-be": b"\x00\x00\xfe\xff",
}


def encoded(text: str, encoding: str) -> bytes:
    return ENCODINGS[encoding] + text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("packer", PACKERS)
def test_text_is_the_same_in_any_coat(tmp_path: Path, packer: str, encoding: str) -> None:
    """Names say nothing here: what a file holds does."""
    path = tmp_path / "file"
    for text in (TEXT, TEXT * 20_000, "x", ""):
        path.write_bytes(PACKERS[packer](encoded(text, encoding)))
        assert read_text(path) == text
        assert [line for _, line in read_lines(path)] == [
            line.removesuffix("\r") for line in text.removesuffix("\n").split("\n") if text
        ]


def test_zstd_of_several_frames(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "file.txt"
    first, second = (zstandard.ZstdCompressor().compress((TEXT * n).encode()) for n in (1, 30_000))
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00meta"
    path.write_bytes(skippable + first + second)
    assert read_text(path) == TEXT * 30_001
    path.write_bytes(first + second[:-3])
    with pytest.raises(UserError, match=r"file.txt cannot be read as UTF-8 text: Compressed file ended before"):
        read_text(path)
    path.write_bytes(first[:4] + b"...." + second)
    with pytest.raises(UserError, match="file.txt cannot be read: ") as caught:
        read_text(path)
    assert "\n" not in str(caught.value)


def test_zstd_without_its_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "x").write_bytes(b"\x28\xb5\x2f\xfd....")
    with pytest.raises(UserError, match=r"x is packed with zstd, which needs zstandard: pip install 'unmask\[data\]'"):
        read_text(tmp_path / "x")


@given(text=st.text(max_size=300), chunk=st.integers(4, 12), packer=st.sampled_from(sorted(PACKERS)))
def test_chunks_may_end_anywhere(text: str, chunk: int, packer: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "CHUNK", chunk)
        path = Path(folder, "file")
        path.write_bytes(PACKERS[packer]("\ufeff".encode() + text.encode()))
        assert read_text(path) == text
        assert "\n".join(line for _, line in read_lines(path)) == "\n".join(
            line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")
        )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("café".encode("latin-1"), r"is not UTF-8 \(byte 3\)"),
        (b"\xef\xbb\xbfab\xff", r"is not UTF-8 \(byte 5\)"),  # counted from the beginning of the file
        (b"x" * (CHUNK + 5) + b"\xe6\x9d", rf"is not UTF-8 \(byte {CHUNK + 5}\)"),
        (b"x" * (CHUNK - 1) + "東".encode()[:2] + b"x", rf"is not UTF-8 \(byte {CHUNK - 1}\)"),
        ("plain words".encode("utf-16-le"), "seems to be UTF-16 without a byte order mark"),
        ("plain words".encode("utf-16-be"), "seems to be UTF-16 without a byte order mark"),
        ("plain words".encode("utf-32-le"), "seems to be UTF-32 without a byte order mark"),
        (b"\xff\xfea\x00b", "begins as UTF-16 but is not"),
        (b"\xff\xfe" + "\ud800x".encode("utf-16-le", "surrogatepass"), "begins as UTF-16 but is not"),
        (b"PK\x03\x04 and more", "is a zip archive, which is not read; unpack it"),
    ],
)
def test_what_is_not_text_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "it").write_bytes(data)
    with pytest.raises(NotText, match=rf"it {message}.*; convert it to UTF-8$") as caught:
        read_text(tmp_path / "it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packer", ["gz", "bz2", "xz"])
def test_what_is_cut_short_is_named(tmp_path: Path, packer: str) -> None:
    (tmp_path / "it").write_bytes(PACKERS[packer](TEXT.encode() * 50_000)[:-20])
    with pytest.raises(UserError, match=r"it cannot be read as UTF-8 text: .*end-of-stream"):
        read_text(tmp_path / "it")


def test_a_name_that_says_otherwise_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"plain")
    with pytest.raises(UserError, match="a.gz cannot be read: Not a gzipped file"):
        read_text(tmp_path / "a.gz")
    with pytest.raises(UserError, match="nowhere cannot be read as UTF-8 text: No such file"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        list(read_lines(tmp_path))


def test_lines_are_numbered_where_one_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfone\r\n\ncaf\xe9\n")
    lines = read_lines(tmp_path / "p.txt")
    assert [next(lines), next(lines)] == [(1, "one"), (2, "")]
    with pytest.raises(UserError, match=r"p.txt:3 is not UTF-8"):
        next(lines)


def test_the_beginning_is_known_and_how_far_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3 * CHUNK)
    with OpenText(tmp_path / "a") as file:
        assert (len(file.head), file.whole) == (CHUNK, False)
        assert sum(map(len, file.parts())) == 3 * CHUNK == file.done
    (tmp_path / "a").write_bytes(b"x" * 5)
    with OpenText(tmp_path / "a") as file:
        assert (file.head, file.whole) == (b"xxxxx", True)
