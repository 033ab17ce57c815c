"""What long work tells a person on stderr: lines that stay, and one live line that is written over.

    say("prepare: notes.txt is not UTF-8: skipped")
    with LiveLine(seconds=5.0) as line:              # on a terminal written over, elsewhere a plain line now and then
        line.show("step 10/100 | loss 4.2 | 0:12 left")
        line.say("step 10 | validation 4.3")         # a line that stays, above the live one

Below every room. A live line is never wider than the terminal: a line that wraps could not be written over.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

LIVE_SECONDS = 0.1
_standing: LiveLine | None = None  # the one that shows something now


def terminals() -> list[int]:
    """The file numbers of those standard streams that are a terminal."""
    return [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]


def say(text: str) -> None:
    """A line on stderr; a live line gives way to it."""
    if _standing is not None:
        _standing.clear()
    print(text, file=sys.stderr, flush=True)


def heed_interrupts() -> None:
    """Ctrl-C and `kill -INT` raise KeyboardInterrupt in this process again, where a shell has started it ignoring them
    (`command &` in a script): its files and its exit status are then those of any other interrupt.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class LiveLine:
    """One line of progress. Off a terminal it is printed when `seconds` have passed since the one before.

    live_seconds: the same on a terminal. at_once: whether the first is due now; else once that time has passed.
    """

    def __init__(
        self, seconds: float = 5.0, shown: bool = True, live_seconds: float = LIVE_SECONDS, at_once: bool = True
    ) -> None:
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._seconds, self._shown = live_seconds if self.live else seconds, shown
        self._said = -math.inf
        if not at_once:
            self.wait()

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *error: Any) -> None:
        self.clear()

    def wait(self) -> None:
        """As if one had been shown now."""
        self._said = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether `show` would print now: what a line says may cost something to find."""
        return self._shown and time.monotonic() - self._said >= self._seconds

    def show(self, text: str, last: bool = False) -> None:
        """`last`: whatever the time, and on a terminal left standing."""
        global _standing
        if not self._shown or not (self.due or last):
            return
        self._said = time.monotonic()
        if last or not self.live:
            say(text)
            return
        if _standing is not self and _standing is not None:
            _standing.clear()
        _standing = self
        print(f"\r{fitted(text, columns() - 1)}\x1b[K", end="", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line that stays."""
        say(text)

    def clear(self) -> None:
        """Takes the live line away."""
        global _standing
        if _standing is self:
            _standing = None
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def on_signals(handle: Callable[[int, Any], object]) -> Iterator[None]:
    """While open, SIGINT and SIGTERM call `handle`."""
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def aligned(rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Rows of cells as lines, columns as wide as they need; `right`: all but the first one to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[f"{cell:{'>' if right and i else '<'}{widths[i]}}" for i, cell in enumerate(row)] for row in rows]
    return ["  ".join(line).rstrip() for line in lines]


def columns() -> int:
    """Of the terminal that stderr is, whatever stdout is; what the environment says only where it does not tell."""
    try:
        width = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        width = 0
    return width or shutil.get_terminal_size().columns


def fitted(text: str, width: int) -> str:
    """`text` in at most `width` columns of a terminal, in one line; what is cut ends in an ellipsis."""
    shown, used = "", 0
    text = "".join(" " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") else sign for sign in text)
    if sum(map(columns_of, text)) <= width:
        return text
    for sign in text:
        used += columns_of(sign)
        if used > width - 1:
            break
        shown += sign
    return shown + "…"[: max(0, width)]


def columns_of(sign: str) -> int:
    """0, 1 or 2: marks that join what is before them, and the wide signs of East Asia and most pictures."""
    if unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return int(sign == "\N{VARIATION SELECTOR-16}")  # it makes a picture of a narrow sign
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
