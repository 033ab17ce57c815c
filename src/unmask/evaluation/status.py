"""How far an evaluation has come, on stderr: a live line on a terminal, a plain one now and then elsewhere.

with StatusLine(len(items), "items") as status:
    status.update(done)                 # eval: 120 of 800 items, 3.1/s, 3:39 left
"""

from __future__ import annotations

import time
from typing import Any

from unmask.terminal import LiveLine, clock

PLAIN_SECONDS, LIVE_SECONDS = 10.0, 0.2


class StatusLine:
    """Says nothing about work that ends before the first line is due."""

    def __init__(self, total: int, unit: str, prefix: str = "eval", shown: bool = True) -> None:
        self._total, self._unit, self._prefix = total, unit, prefix
        self._line = LiveLine(PLAIN_SECONDS, shown, LIVE_SECONDS, at_once=False)
        self._began = time.monotonic()

    def __enter__(self) -> StatusLine:
        return self

    def update(self, done: int, total: int | None = None) -> None:
        self._total = self._total if total is None else total
        if done and self._line.due:
            seconds = time.monotonic() - self._began
            self._line.show(f"{self._prefix}: {describe(done, self._total, seconds, self._unit)}")

    def __exit__(self, *error: Any) -> None:
        self._line.clear()


def describe(done: int, total: int, seconds: float, unit: str) -> str:
    """``120 of 800 items, 3.1/s, 3:39 left``"""
    rate = done / max(seconds, 1e-9)
    return f"{done} of {total} {unit}, {rate:.1f}/s, {clock((total - done) / rate)} left"
