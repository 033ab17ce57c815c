"""What long work tells a person on stderr: lines that stay, and one live line that is written over.

    say("prepare: notes.txt is not UTF-8: skipped")
    with LiveLine(seconds=5.0) as line:              # on a terminal written over, elsewhere a plain line now and then
        line.show("step 10/100 | loss 4.2 | 0:12 left")
        line.say("step 10 | validation 4.3")         # a line that stays, above the live one

Below every room. A live line is never wider than the terminal: a line that wraps could not be written over.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import Any

LIVE_SECONDS = 0.1


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


class LiveLine:
    """One line of progress. Off a terminal it is printed when `seconds` have passed since the one before."""

    def __init__(self, seconds: float = 5.0, shown: bool = True) -> None:
        self._live, self._seconds, self._shown = sys.stderr.isatty(), seconds, shown
        self._said = -math.inf
        self._open = False  # a live line stands there

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *error: Any) -> None:
        self.clear()

    @property
    def due(self) -> bool:
        """Whether `show` would print now: what a line says may cost something to find."""
        return self._shown and time.monotonic() - self._said >= (LIVE_SECONDS if self._live else self._seconds)

    def show(self, text: str, last: bool = False) -> None:
        """`last`: whatever the time, and on a terminal left standing."""
        if not self._shown or not (self.due or last):
            return
        self._said = time.monotonic()
        if not self._live:
            say(text)
        elif last:
            self.say(text)
        else:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{fitted(text, width)}\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = True

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        say(text)

    def clear(self) -> None:
        """Takes the live line away."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = False


def fitted(text: str, width: int) -> str:
    """`text` in at most `width` columns; what is cut ends in an ellipsis."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"[:width]
