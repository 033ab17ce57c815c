"""How far long work has come, on stderr: a live line on a terminal, plain lines now and then elsewhere.

with StderrProgress() as progress:
    progress.update("encoding", done=3_000_000, total=12_000_000)   # bytes; total None where unknown
    progress.note("notes.txt is not UTF-8: skipped")
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

PLAIN_SECONDS = 5.0
LIVE_SECONDS = 0.1
TICK_SECONDS = 2.0


class Progress(Protocol):
    def update(self, phase: str, done: int, total: int | None) -> None: ...

    def note(self, line: str) -> None: ...


class SilentProgress:
    def update(self, phase: str, done: int, total: int | None) -> None: ...

    def note(self, line: str) -> None: ...


class StderrProgress:
    """Prints rate and time left. A context manager, since a live line must be ended."""

    def __init__(self, prefix: str = "prepare") -> None:
        self._prefix = prefix
        self._phase = ""
        self._began = self._printed = 0.0
        self._live: Any = None

    def __enter__(self) -> StderrProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, phase: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._printed = phase, now, now
        if now - self._printed < (PLAIN_SECONDS if self._live is None else LIVE_SECONDS):
            return
        self._printed = now
        line = f"{self._prefix}: {describe(phase, done, total, now - self._began)}"
        if self._live is None:
            print(line, file=sys.stderr, flush=True)
        else:
            from rich.text import Text

            self._live.update(Text(line), refresh=True)

    def note(self, line: str) -> None:
        if self._live is None:
            print(f"{self._prefix}: {line}", file=sys.stderr, flush=True)
        else:
            self._live.console.print(f"{self._prefix}: {line}", markup=False, highlight=False)


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
        left = round(max(0, total - done) / rate)
        line += f", {left // 60}:{left % 60:02d} left"
    return line
