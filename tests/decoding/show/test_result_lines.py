"""Files of results: what an earlier process wrote is kept where it agrees, in order, whatever was killed when."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from unmask.decoding.show.result_lines import ResultFile, as_line
from unmask.errors import UserError

Row = tuple[int, str]  # index and settings


def write(path: Path, wanted: list[Row], stop_after: int | None = None, batch: int = 4) -> int:
    """Writes what is wanted, in batches, as `sample_lines` does; returns how many were new. `stop_after`: killed behind
    so many new lines."""
    new = 0
    with ResultFile(path) as out:
        for first in range(0, len(wanted), batch):
            part = wanted[first : first + batch]
            found = [out.find(index, 0, settings) for index, settings in part]
            for (index, settings), kept in zip(part, found, strict=True):
                if kept is None:
                    if new == stop_after:
                        return new
                    new += 1
                row = {"index": index, "settings_hash": settings, "text": f"{index} by {settings} " + "é" * (index % 7)}
                out.put(kept or as_line(row))
        out.finish()
    return new


def there(path: Path) -> list[Row]:
    return [(row["index"], row["settings_hash"]) for row in map(json.loads, path.read_bytes().splitlines())]


def test_lines_in_order_and_again_nothing_to_do(tmp_path: Path) -> None:
    wanted = [(i, "a") for i in range(10)]
    assert write(tmp_path / "out", wanted) == 10 and there(tmp_path / "out") == wanted
    whole = (tmp_path / "out").read_bytes()
    assert write(tmp_path / "out", wanted) == 0 and (tmp_path / "out").read_bytes() == whole


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    wanted = [(i, "a") for i in range(9)]
    write(tmp_path / "out", wanted)
    whole = (tmp_path / "out").read_bytes()
    for cut in range(0, len(whole), 7):
        (tmp_path / "out").write_bytes(whole[:cut])
        assert write(tmp_path / "out", wanted) == 9 - whole[:cut].count(b"\n")
        assert (tmp_path / "out").read_bytes() == whole


def test_other_settings_are_done_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, [(i, "a") for i in range(12)])
    changed = [(i, "b" if i in (3, 7) else "a") for i in range(12)]
    assert write(out, changed) == 2 and there(out) == changed
    assert write(out, changed[:5]) == 0 and there(out) == changed[:5]  # fewer prompts than before
    assert write(out, [(i, "c") for i in range(12)]) == 12
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_mended_line_comes_to_its_place(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, [(i, "a") for i in range(12) if i != 4])
    assert write(out, [(i, "a") for i in range(12)]) == 1 and there(out) == [(i, "a") for i in range(12)]


def test_whatever_is_killed_nothing_is_lost_twice(tmp_path: Path) -> None:
    """Random histories: settings change, processes die behind any number of lines; the file always holds whole lines in
    order, and in the end what was wanted."""
    rng = random.Random(0)
    for number in range(25):
        out = tmp_path / f"out-{number}"
        wanted: list[Row] = []
        for _ in range(4):
            wanted = [(i, rng.choice("aab")) for i in range(20) if rng.random() < 0.9]
            for _ in range(rng.randint(0, 2)):
                write(out, wanted, stop_after=rng.randint(0, 8), batch=rng.choice((1, 3, 50)))
                keys = [index for index, _ in there(out)]
                assert keys == sorted(set(keys))
        write(out, wanted)
        assert there(out) == wanted and not list(tmp_path.glob(".*"))


def test_no_line_is_written_twice(tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in range(12):
        out, wanted = tmp_path / f"out-{number}", [(i, "a") for i in range(20)]
        write(out, gaps := [row for row in wanted if rng.random() < 0.7])
        done = len(gaps)
        while there(out) != wanted:
            done += write(out, wanted, stop_after=rng.randint(1, 4), batch=rng.choice((1, 3, 50)))
        assert done == len(wanted)


def test_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    for text in ("a diary\n", '{"question": "?"}\n', '{"index": 0, "question": "?"}\n', "no end of line", "[1]\n"):
        (tmp_path / "out").write_text(text)
        with pytest.raises(UserError, match="out is no file of results; give another one, or remove it"):
            ResultFile(tmp_path / "out")
        assert (tmp_path / "out").read_text() == text
    with pytest.raises(UserError, match="is a folder"):
        ResultFile(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        ResultFile(tmp_path / "no" / "out")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with ResultFile(tmp_path / "out"), pytest.raises(UserError, match="another process is writing"):
        ResultFile(tmp_path / "out")
    write(tmp_path / "out", [(0, "a")])


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    class Full:
        def __init__(self, inner) -> None:
            self.inner, self.room = inner, 30

        def write(self, data) -> int:
            if self.room <= 0:
                raise OSError(28, "No space left on device")
            self.room -= (taken := min(self.room, len(data)))
            return int(self.inner.write(data[:taken]))

        def __getattr__(self, name: str):
            return getattr(self.inner, name)

    with ResultFile(tmp_path / "out") as out:
        out.put(as_line({"index": 0, "settings_hash": "a"}))
        out._file = Full(out._file)
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            out.put(as_line({"index": 1, "settings_hash": "a"}))
    assert there(tmp_path / "out") == [(0, "a")]


def test_text_that_utf8_cannot_write_is_escaped() -> None:
    assert json.loads(as_line({"a": "\ud800"})) == {"a": "\ud800"} and "é".encode() in as_line({"a": "é"})
