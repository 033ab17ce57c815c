"""Lines on stderr, under a real terminal and without one: `make test ARGS=tests/test_terminal.py`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from screen import on_a_terminal, width
from unmask.terminal import LiveLine, clock, fitted

PROGRAM = """
from unmask.terminal import LiveLine, say
import time
with LiveLine() as line:
    line.show(FIRST * 300)
    time.sleep(0.15)
    line.show("y" * 300)
    say("stays")
    time.sleep(0.15)
    line.show("gone in the end")
"""
NARROW, WIDE = "x", "漢"
SRC = Path(__file__).parents[1] / "src" / "unmask"


@pytest.mark.parametrize("first", [NARROW, WIDE])
@pytest.mark.parametrize("columns", [2, 40, 80])
def test_a_live_line_is_never_wider_than_the_terminal(first: str, columns: int) -> None:
    shown = on_a_terminal([sys.executable, "-c", PROGRAM.replace("FIRST", repr(first))], columns, COLUMNS="200")
    assert "y" in shown.written and (first in shown.written or columns == 2)
    assert 0 < shown.widest_live < columns
    assert shown.lines == ["stays", ""] if columns > 5 else shown.widest_live == 1


def test_a_line_that_stays_takes_the_live_one_away() -> None:
    """Whoever says it, the live line's owner or anybody else."""
    code = "import unmask.terminal as t\na, b = t.LiveLine(), t.LiveLine()\n"
    code += "a.show('a'); b.show('b')\na.clear(); t.say('x')"
    assert on_a_terminal([sys.executable, "-c", code], 80).lines == ["x", ""]


def test_a_terminal_that_cannot_go_back_gets_plain_lines() -> None:
    program = PROGRAM.replace("FIRST", "'x'")
    shown = on_a_terminal([sys.executable, "-c", program], 80, TERM="dumb")
    assert "\x1b" not in shown.written and "\r" not in shown.written.replace("\r\n", "\n")


def test_off_a_terminal_lines_come_now_and_then(capsys: Any) -> None:
    with LiveLine(seconds=60) as line:
        for i in range(5):
            line.show(f"step {i}")
        line.show("step 5", last=True)
        line.say("done")
    with LiveLine(seconds=60, at_once=False) as line:
        line.show("too early")
    assert capsys.readouterr().err == "step 0\nstep 5\ndone\n"


def test_fitted() -> None:
    assert fitted("abc", 3) == "abc" and fitted("abcd", 3) == "ab…" and fitted("abcd", 0) == ""
    assert [fitted("漢字漢字", columns) for columns in (8, 7, 6)] == ["漢字漢字", "漢字漢…", "漢字…"]
    assert fitted("e\u0301" * 4, 4) == "e\u0301" * 4 and fitted("a\nb\rc\x1b[K", 80) == "a b c [K"
    for wide in ("漢字", "👩‍👩‍👧 family", "❤️ heart", "ไทย ภาษา"):
        for columns in range(12):
            assert width(fitted(wide * 3, columns)) <= columns


def test_clock() -> None:
    assert [clock(s) for s in (-1, 5, 65.4, 3723, 360_000)] == ["0:00", "0:05", "1:05", "1:02:03", "100:00:00"]


def test_nobody_else_writes_over_lines_or_says() -> None:
    """One live line and one `say` for all of the project; the canvas of `sample --watch` is a picture, not a line."""
    for path in SRC.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "terminal.py":
            assert not re.search(r"isatty|\\x1b\[K|f?\"\\r\{|end=\"\\r|def say\(text: str\) -> None:\n", text), path
            assert path.name == "watch.py" or "rich.live" not in text, path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    words = "the quick brown fox jumps over lazy dogs while masked models fill in what was hidden there".split()
    for i in range(40):
        text = " ".join(words[(i * 7 + j * j) % len(words)] + str(i * j % 97) for j in range(9000))
        (folder / f"{i:02d}.txt").write_text(text, encoding="utf-8")
    (folder / "odd.txt").write_bytes(b"\xff\xfe\xfa" * 9)
    return folder


@pytest.mark.parametrize("columns", [pytest.param(80, marks=pytest.mark.slow), 40])
def test_prepare_and_train_on_a_terminal(corpus: Path, tmp_path: Path, columns: int) -> None:
    unmask = [sys.executable, "-m", "unmask"]
    words = ["prepare", str(corpus), "--out", str(tmp_path / "data"), "--tokenizer", "bpe:400", "--workers", "1"]
    shown = on_a_terminal([*unmask, *words, "--split", "random:0.2"], columns)
    assert shown.status == 0 and b"documents" in shown.stdout
    assert 0 < shown.widest_live < columns
    live = [line for line in re.split(r"[\r\n]", shown.written) if re.match(r"prepare: \S+ [\d.]+ (of|MB)", line)]
    assert live and not [line for line in shown.lines if line.startswith("prepare: ") and "MB/s" in line]

    recipe = {
        "data": str(tmp_path / "data"), "out": str(tmp_path / "run"), "context": 16, "batch_size": 4, "steps": 150,
        "threads": 1, "precision": "fp32", "model": {"n_layer": 2, "n_head": 2, "n_embd": 16}, "log_every": 1,
        "validation": {"windows": 4, "draws": 2},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    shown = on_a_terminal([*unmask, "train", str(tmp_path / "recipe.yaml")], columns)
    assert shown.status == 0
    assert 0 < shown.widest_live < columns
    (last,) = [line for line in shown.lines if re.match(r"step \d+/150 \| loss", line)]
    assert last.startswith("step 150/150 | loss "), "the last stands, all others were written over"
    assert sum(line.startswith("step ") and "validation" in line for line in shown.lines) == 10
    assert all(int(share) <= 100 for share in re.findall(r"(\d+)% of matmul peak", shown.written))
