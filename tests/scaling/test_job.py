"""One run of a sweep as a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.scaling.job import last_line

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch


def test_the_last_word_of_a_log_is_its_error(tmp_path: Path):
    log = tmp_path / "x.log"
    log.write_text("step 1\nunmask: error: no room\nbye\n")
    assert last_line(log) == "no room"
    log.write_text("Traceback\nValueError: x\n\n")
    assert last_line(log) == "ValueError: x"
    log.write_text("")
    assert last_line(log) == "ended without a word"
