"""How far an evaluation has come, on stderr: a live line on a terminal, a plain one now and then elsewhere.

with StatusLine(len(items), "items") as status:
    status.update(done)                 # eval: 120 of 800 items, 3.1/s, 3:39 left
"""

from __future__ import annotations

import sys
import time

PLAIN_SECONDS, LIVE_SECONDS = 10.0, 0.2


class StatusLine:
    """Says nothing about work that ends before the first line is due."""

    def __init__(self, total: int, unit: str, prefix: str = "eval", shown: bool = True) -> None:
        self._total, self._unit, self._prefix, self._shown = total, unit, prefix, shown
        self._live = sys.stderr.isatty()
        self._began = self._said = time.monotonic()
        self._open = False  # a live line stands there

    def __enter__(self) -> StatusLine:
        return self

    def update(self, done: int, total: int | None = None) -> None:
        self._total = self._total if total is None else total
        now = time.monotonic()
        if not self._shown or now - self._said < (LIVE_SECONDS if self._live else PLAIN_SECONDS) or not done:
            return
        self._said = now
        line = f"{self._prefix}: {describe(done, self._total, now - self._began, self._unit)}"
        self._open = self._live
        print(f"\r{line}\x1b[K" if self._live else line, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def describe(done: int, total: int, seconds: float, unit: str) -> str:
    """``120 of 800 items, 3.1/s, 3:39 left``"""
    rate = done / max(seconds, 1e-9)
    left = round((total - done) / rate)
    return f"{done} of {total} {unit}, {rate:.1f}/s, {left // 60}:{left % 60:02d} left"
