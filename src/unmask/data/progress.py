"""How far long work has come, on stderr: a live line on a terminal, plain lines now and then elsewhere.

with StderrProgress() as progress:
    progress.update("encoding", done=3_000_000, total=12_000_000)   # bytes; total None where unknown
    progress.note("notes.txt is not UTF-8: skipped")
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from unmask.terminal import LiveLine, clock

PLAIN_SECONDS = 5.0
TICK_SECONDS = 2.0


class Progress(Protocol):
    def update(self, phase: str, done: int, total: int | None) -> None: ...

    def note(self, line: str) -> None: ...


class StderrProgress:
    """Prints rate and time left. A context manager, since a live line must be ended."""

    def __init__(self, prefix: str = "prepare") -> None:
        self._prefix = prefix
        self._phase, self._began = "", 0.0
        self._line = LiveLine(PLAIN_SECONDS)

    def __enter__(self) -> StderrProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._line.clear()

    def update(self, phase: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
            self._line.wait()
        if self._line.due:
            self._line.show(f"{self._prefix}: {describe(phase, done, total, now - self._began)}")

    def note(self, line: str) -> None:
        self._line.say(f"{self._prefix}: {line}")


@contextlib.contextmanager
def ticking(progress: Progress, phase: str, done: Callable[[], int | None]) -> Iterator[None]:
    """Shows that a block is at work which does not come back to say so: `done` bytes it works on, None for not yet."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(TICK_SECONDS):
            if (count := done()) is not None:
                progress.update(phase, count, None)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def describe(phase: str, done: int, total: int | None, seconds: float) -> str:
    """``encoding 3.0 of 12.0 MB (25%), 1.5 MB/s, 0:06 left``"""
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{phase} {done / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
    share = min(1.0, done / total)
    line = f"{phase} {done / 1e6:.1f} of {total / 1e6:.1f} MB ({share:.0%}), {rate / 1e6:.1f} MB/s"
    if rate > 0:
        line += f", {clock(max(0, total - done) / rate)} left"
    return line
