"""Lines on stderr, under a real terminal and without one: `make test ARGS=tests/test_terminal.py`."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from unmask.terminal import LiveLine, fitted

PROGRAM = """
from unmask.terminal import LiveLine
import time
with LiveLine() as line:
    line.show("x" * 300)
    time.sleep(0.15)
    line.show("y" * 300)
    line.say("stays")
"""


def under_a_terminal(program: str, columns: int) -> str:
    """What a program writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen([sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            found += part
    os.close(ours)
    return found.decode()


def test_a_live_line_is_never_wider_than_the_terminal():
    shown = under_a_terminal(PROGRAM, 40)
    lines = [line.removesuffix("\x1b[K") for line in shown.replace("\n", "\r").split("\r")]
    assert any(line.startswith("x") for line in lines) and any(line.startswith("y") for line in lines)
    assert max(len(line) for line in lines) < 40
    assert shown.endswith("stays\r\n")


def test_off_a_terminal_lines_come_now_and_then(capsys):
    with LiveLine(seconds=60) as line:
        for i in range(5):
            line.show(f"step {i}")
        line.show("step 5", last=True)
        line.say("done")
    assert capsys.readouterr().err == "step 0\nstep 5\ndone\n"


def test_fitted():
    assert fitted("abc", 3) == "abc" and fitted("abcd", 3) == "ab…" and fitted("abcd", 0) == ""
