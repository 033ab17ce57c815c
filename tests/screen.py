"""What a program shows on a terminal of so many columns: `from screen import on_a_terminal`."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Screen:
    """A terminal that knows carriage return, line feed and "erase to the end"; lines too long go on in the next."""

    columns: int
    written: str = ""
    stdout: bytes = b""
    status: int = 0
    lines: list[str] = field(default_factory=lambda: [""])
    widest_live: int = 0  # columns of the widest line that was written over

    def feed(self, text: str) -> Screen:
        self.written += text
        at = 0
        for part in re.split(r"(\r\n|\r|\n|\x1b\[K)", text):
            if part in ("\r\n", "\n"):
                self.lines.append("")
                at = 0
            elif part == "\r":
                self.widest_live = max(self.widest_live, width(self.lines[-1]))
                at = 0
            elif part == "\x1b[K":
                self.lines[-1] = self.lines[-1][:at]
            else:
                for sign in part:
                    if width(self.lines[-1][:at] + sign) > self.columns:
                        self.lines.append("")
                        at = 0
                    self.lines[-1] = self.lines[-1][:at] + sign + self.lines[-1][at + 1 :]
                    at += 1
        return self


def width(text: str) -> int:
    joining = ("Mn", "Me", "Cf")
    wide = [1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text]
    return sum(n for sign, n in zip(text, wide, strict=True) if unicodedata.category(sign) not in joining)


def on_a_terminal(command: Sequence[str], columns: int, **environment: str) -> Screen:
    """Runs a command whose stderr is a terminal and whose stdout is a pipe."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    known |= {"TERM": "xterm", **environment}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=known)
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
    assert process.stdout
    stdout = process.stdout.read()
    process.stdout.close()
    return Screen(columns, stdout=stdout, status=process.wait()).feed(found.decode())
