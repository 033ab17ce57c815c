"""The demo's stages: child processes side by side, and the seconds and peak memory that each stage took.

    stages = Stages(Path("runs/demo/stages.json"))
    with stages.measure("evaluate"): ...
    run_together({"mdm": [...command...], "arm": [...command...]}, stages)       # at_once=2: the next when one ends

Children are in sessions of their own, so that a Ctrl-C reaches them once, through the demo. Memory is the resident set
of the process and its children, sampled ten times a second.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from unmask.errors import UserError
from unmask.files import write_whole
from unmask.terminal import LiveLine, on_signals

SAMPLE_SECONDS = 0.1
STEP_LINE = re.compile(r"step (\d+/\d+ \| loss [^|]+?) \| ([\d:]+ left)")


class Stopped(Exception):
    """A signal ended the demo; what was done is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number


class Stages:
    """Seconds and peak memory by stage, kept in a file, so that a demo that goes on adds to what it had."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.records: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            self.records = {}

    def add(self, name: str, seconds: float, peak: int, fresh: bool = False, **facts: Any) -> None:
        """Adds a piece of work to a stage (`fresh`: instead of what stood there)."""
        before = {} if fresh else self.records.get(name, {})
        self.records[name] = {
            **before,
            "seconds": round(before.get("seconds", 0.0) + seconds, 3),
            "peak_memory_bytes": max(before.get("peak_memory_bytes", 0), peak),
            **facts,
        }
        write_whole(self._path, json.dumps(self.records, indent=1) + "\n")

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Times a stage of this process."""
        started = time.monotonic()
        with PeakMemory(os.getpid()) as memory:
            yield
        self.add(name, time.monotonic() - started, memory.peak, fresh=True)


class PeakMemory:
    """The largest resident set of a process and its children while open (bytes)."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = 0

    def __enter__(self) -> PeakMemory:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            family = [self._process, *self._process.children(recursive=True)]
            self.peak = max(self.peak, sum(process.memory_info().rss for process in family))
        except psutil.Error:
            return  # one of them has just ended


class Relay:
    """Lines of several children on one stderr: a live line of their steps on a terminal, prefixed lines elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live = LiveLine()
        self._steps: dict[str, str] = {}

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *error: object) -> None:
        self._live.clear()

    def line(self, name: str, text: str) -> None:
        with self._lock:
            step = STEP_LINE.match(text)
            if self._live.live and step:
                self._steps[name] = f"{name} {step[1].replace(' |', ',')}, {step[2]}"
                self._live.show("  ".join(self._steps.values()))
            else:
                self._live.say(f"{name}: {text}")


class Child:
    """One command under way: its stderr relayed, its stdout kept, its memory watched."""

    def __init__(self, name: str, command: Sequence[str], relay: Relay) -> None:
        self.name, self.started = name, time.monotonic()
        self.last_lines: deque[str] = deque(maxlen=5)
        self.seconds = 0.0
        self._relay = relay
        self._stdout = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self.memory = PeakMemory(self.process.pid)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self.process.stderr is not None
        with self.memory:
            for line in self.process.stderr:
                if text := line.rstrip():
                    self.last_lines.append(text)
                    self._relay.line(self.name, text)
            self.process.wait()
        self.seconds = time.monotonic() - self.started

    def ended(self, seconds: float) -> bool:
        """Waits so long at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What the command printed: JSON."""
        self._stdout.seek(0)
        return json.loads(self._stdout.read())

    def error(self) -> str:
        last = self.last_lines[-1] if self.last_lines else f"exit status {self.process.returncode}"
        return f"{self.name}: {last.removeprefix('unmask: error: ')}"


def run_together(
    commands: Mapping[str, Sequence[str]],
    stages: Stages,
    *,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    at_once: int | None = None,
    ended: Callable[[str, Any], None] | None = None,
) -> dict[str, Any]:
    """Runs commands side by side, each a stage, and returns the JSON that each printed.

    facts: what to note with stages that end well, by name. at_once: how many at a time, in the order given, the next as
    soon as one ends; by default all. `ended` is called with the name and the JSON of each that ends well, while others
    go on. A signal is passed on to all and raises `Stopped` once they have ended; where one fails the others are
    stopped (they save themselves), and its last line is the `UserError`.
    """
    forward, waiting, most = Forward(), deque(commands.items()), at_once or len(commands)
    found: dict[str, Any] = {}
    failed: Child | None = None
    with Relay() as relay, on_signals(forward.note):
        try:
            while True:
                while waiting and len(forward.children) < most and failed is None and not forward.signal:
                    name, command = waiting.popleft()
                    forward.to(Child(name, command, relay))
                if not forward.children:
                    break
                for child in [child for child in forward.children if child.ended(SAMPLE_SECONDS)]:
                    forward.children.remove(child)
                    well = child.process.returncode == 0
                    noted = facts.get(child.name, {}) if facts and well else {}
                    stages.add(child.name, child.seconds, child.memory.peak, **noted)
                    if failed is not None or forward.signal:
                        continue
                    if not well:
                        failed = child
                        forward.end()
                        continue
                    found[child.name] = child.result()
                    if ended is not None:
                        ended(child.name, found[child.name])
        finally:
            forward.end()  # of those that are left where this itself went wrong
    if forward.signal:
        raise Stopped(forward.signal)
    if failed is not None:
        raise UserError(failed.error())
    return {name: found[name] for name in commands}


class Forward:
    """A signal goes on to the children, which save and end; a second one makes them end at once."""

    def __init__(self) -> None:
        self.signal = 0
        self.children: list[Child] = []

    def to(self, child: Child) -> None:
        self.children.append(child)
        if self.signal:  # it came while this one was being started
            self._pass_on(self.signal, [child])

    def note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._pass_on(number, self.children)

    def end(self) -> None:
        """Ends them all; they save themselves."""
        self._pass_on(signal.SIGTERM, self.children)

    def _pass_on(self, number: int, children: Sequence[Child]) -> None:
        for child in children:
            if child.process.poll() is None:
                child.process.send_signal(number)
