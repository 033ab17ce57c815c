"""Progress tells rate and time left, seldom where nobody watches, and on stderr only."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from screen import on_a_terminal
from unmask.data import progress as room
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.progress import StderrProgress, describe


@pytest.mark.parametrize(
    "done, total, seconds, line",
    [
        (3_000_000, 12_000_000, 2.0, "encoding 3.0 of 12.0 MB (25%), 1.5 MB/s, 0:06 left"),
        (1_000_000, 100_000_000, 1.0, "encoding 1.0 of 100.0 MB (1%), 1.0 MB/s, 1:39 left"),
        (3_000_000, None, 2.0, "encoding 3.0 MB, 1.5 MB/s"),
        (0, 10_000_000, 0.0, "encoding 0.0 of 10.0 MB (0%), 0.0 MB/s"),
        (1_000_000, 6_000_000_000, 1.0, "encoding 1.0 of 6000.0 MB (0%), 1.0 MB/s, 1:39:59 left"),
        (12_000_000, 10_000_000, 1.0, "encoding 12.0 of 10.0 MB (100%), 12.0 MB/s, 0:00 left"),
    ],
)
def test_the_line(done, total, seconds, line):
    assert describe("encoding", done, total, seconds) == line


def test_plain_lines_now_and_then(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    with StderrProgress() as progress:
        for second in range(12):
            now[0] = 100.0 + second
            progress.update("encoding", second * 1_000_000, 20_000_000)
        progress.note("a file [red] was skipped")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "prepare: encoding 5.0 of 20.0 MB (25%), 1.0 MB/s, 0:15 left",
        "prepare: encoding 10.0 of 20.0 MB (50%), 1.0 MB/s, 0:10 left",
        "prepare: a file [red] was skipped",
    ]


def test_a_live_line_on_a_terminal():
    code = (
        "import time; from unmask.data.progress import StderrProgress\n"
        "with StderrProgress() as p:\n"
        "    p.update('encoding', 0, 9_000_000); time.sleep(0.15)\n"
        "    p.update('encoding', 3_000_000, 9_000_000); p.note('odd [red] file')\n"
    )
    shown = on_a_terminal([sys.executable, "-c", code], 100)
    assert shown.stdout == b""
    assert "prepare: encoding 3.0 of 9.0 MB (33%)" in shown.written
    assert shown.lines == ["prepare: odd [red] file", ""]


def test_progress_goes_to_stderr_without_being_asked(texts, tmp_path, capsys):
    options = PrepareOptions([str(texts)], tmp_path / "data", tokenizer="bytes", split="random:0.5")
    prepare(options)
    prepare(dataclasses.replace(options, workers=1))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.endswith("nothing to do\n")


def test_progress_counts_up_to_the_whole(make, texts, tmp_path, recorder):
    make(sources=[texts], out=tmp_path / "data", tokenizer="bpe:300")
    size = sum(path.stat().st_size for path in texts.rglob("*.txt"))
    assert {total for _, _, total in recorder.updates} == {size}
    assert recorder.updates[-1] == ("encoding", size, size)
    assert {phase for phase, _, _ in recorder.updates} == {"reading for the tokenizer", "encoding"}


def test_learning_shows_that_it_is_at_work(make, tmp_path, recorder, monkeypatch):
    monkeypatch.setattr("unmask.data.progress.TICK_SECONDS", 0.01)
    letters = "".join(np.random.default_rng(0).choice(list("abcdefghij"), 300_000))
    (tmp_path / "in.txt").write_text(letters)
    make(sources=[tmp_path / "in.txt"], out=tmp_path / "data", tokenizer="bpe:1000")
    told = [update for update in recorder.updates if update[0].startswith("learning")]
    assert told and set(told) == {("learning 1,000 tokens from", 150_000, None)}
