"""How far an evaluation has come, in one line."""

from __future__ import annotations

import sys

import pytest

from screen import on_a_terminal


@pytest.mark.parametrize("columns", [80, 40])
def test_the_line_of_an_evaluation(columns: int) -> None:
    program = "import time; from unmask.evaluation.status import *\n"
    program += "with StatusLine(80000, 'requests of 漢字 ' * 4) as s:\n"
    program += "    s.update(1); time.sleep(0.3); s.update(2000); time.sleep(0.3); s.update(4000)\n"
    shown = on_a_terminal([sys.executable, "-c", program], columns)
    assert shown.lines == [""] and 0 < shown.widest_live < columns
    assert "eval: 2000 of 80000" in shown.written and "eval: 1 of" not in shown.written
