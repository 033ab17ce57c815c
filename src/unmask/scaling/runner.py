"""The loop that keeps a sweep's jobs busy: claims runs, gathers what is done, waits for what others have in hand.

    with Runner(sweep, RunOptions(plan="plan.yaml", out="sweep")) as runner:
        runner.work(plan.runs)          # `run.py` is the verb, `cluster.py` the same loop over a Ray cluster
"""

from __future__ import annotations

import json
import signal
import time
from collections import deque
from types import FrameType

from unmask.errors import UserError
from unmask.files import write_whole
from unmask.scaling.job import Job
from unmask.scaling.options import RunOptions
from unmask.scaling.runs import PlannedRun
from unmask.scaling.status import standing
from unmask.scaling.sweep import PROGRESS, Sweep
from unmask.terminal import LiveLine, on_signals, say

POLL_SECONDS, TELL_SECONDS = 0.2, 10.0
PATIENCE = 60.0  # seconds that a run held by another process is waited for when nothing else is left


class Runner:
    """Jobs under way, and what is told of them."""

    def __init__(self, sweep: Sweep, options: RunOptions) -> None:
        spec = sweep.plan.spec
        self.sweep, self.options, self.signal = sweep, options, 0
        self.jobs, self.threads = options.jobs or spec.jobs, options.threads or spec.threads
        self._running: list[Job] = []
        self._blocked: list[PlannedRun] = []  # branches whose trunk is not there yet
        self._line = LiveLine(TELL_SECONDS, live_seconds=1.0)
        self._signals = on_signals(self._note)

    def __enter__(self) -> Runner:
        self._signals.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._signals.__exit__(None, None, None)
        for job in self._running:
            job.stop(signal.SIGTERM)
        self._line.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        for job in self._running:
            job.stop(signal.SIGTERM)

    def work(self, chosen: list[PlannedRun]) -> None:
        """Keeps the jobs busy with what nobody else has."""
        waiting = deque(chosen)
        elsewhere: list[PlannedRun] = []
        idle_since: float | None = None
        while not self.signal or self._running:
            self._release(waiting)
            while waiting and len(self._running) < self.jobs and not self.signal:
                self._take(waiting.popleft(), elsewhere)
            self._gather()
            if self._running or waiting:
                idle_since = None
            elif not elsewhere and not self._blocked:
                break
            else:  # the child of a runner that was killed may still be saving
                left = [*elsewhere, *self._blocked]
                idle_since = idle_since or time.monotonic()
                if time.monotonic() - idle_since > PATIENCE:
                    say(f"{len(left)} run(s) are in the hands of other processes, such as {left[0].name}")
                    break
                waiting, elsewhere, self._blocked = deque(left), [], []
                time.sleep(5 * POLL_SECONDS)
            self._tell()
            time.sleep(POLL_SECONDS)
        self._tell(last=True)

    def _release(self, waiting: deque[PlannedRun]) -> None:
        """Branches whose trunk has come as far are next."""
        ready = [run for run in self._blocked if self.sweep.ready(run)]
        self._blocked = [run for run in self._blocked if run not in ready]
        waiting.extendleft(reversed(ready))

    def _waits(self, run: PlannedRun) -> bool:
        """Whether there is nothing to do yet for a run that belongs to a trunk."""
        if run.is_trunk and not self.sweep.wanted(run):
            self.sweep.clear(run.name)
            return True
        if run.trunk is None or self.sweep.ready(run):
            return False
        if self.sweep.failure(run.trunk) is None:
            self._blocked.append(run)
        else:
            say(f"{run.name} is left out: its trunk {run.trunk} failed")
        return True

    def _take(self, run: PlannedRun, elsewhere: list[PlannedRun]) -> None:
        """Starts a run unless it is done, failed or another's."""
        if run.name in self.sweep.rows():
            self.sweep.clear(run.name)
            return
        if self.sweep.failure(run.name) is not None or self._waits(run):
            return
        try:
            job = self._begun(run)
        except UserError as error:
            self.sweep.fail(run.name, str(error))
            say(f"{run.name} failed: {error}")
            return
        if job is None:
            elsewhere.append(run)
            return
        self._running.append(job)
        if self.signal:
            job.stop(signal.SIGTERM)

    def _begun(self, run: PlannedRun) -> Job | None:
        """A run taken up; None where another process has it, or had it until now. Raises `UserError`."""
        claim = self.sweep.claim(run)
        if claim is None:
            return None
        try:
            if run.name in self.sweep.rows():  # done by another since
                claim.close()
                return None
            return Job(self.sweep, run, claim, self.threads, self.options.precision)
        except UserError:
            claim.close()
            raise

    def _gather(self) -> None:
        for job in [job for job in self._running if not job.poll()]:
            self._running.remove(job)
            if job.outcome == "failed":
                say(f"{job.run.name} failed: {job.reason}")
            elif job.outcome == "elsewhere":
                say(f"{job.run.name} is in the hands of another process")
            elif job.outcome == "done" and job.run.is_trunk:
                say(f"{job.run.name}: trained to step {job.run.steps:,}")
            elif job.outcome == "done":
                row = self.sweep.rows()[job.run.name]
                rate = row["flops_exact"] * job.run.own_share / max(1e-9, row["training_seconds"]) / 1e9
                say(f"{job.run.name}: {row['loss']:.4f} nats/token in {row['seconds']:,.0f} s ({rate:.0f} GFLOP/s)")

    def _tell(self, last: bool = False) -> None:
        """The line, and progress.json. What cannot be written now is written next time."""
        if not last and not self._line.due:
            return
        progress = standing(self.sweep)
        try:
            text = json.dumps({**progress, "time": round(time.time())}, indent=1)
            write_whole(self.sweep.path / PROGRESS, text + "\n")
        except UserError as error:
            say(str(error))
        left = "" if progress["hours_left"] is None else f", {progress['hours_left']:.2f} h left"
        failed = f", {progress['failed']} failed" if progress["failed"] else ""
        hands = " | ".join(f"{run['name']} {100 * run['step'] / run['steps']:.0f}%" for run in progress["in_hand"])
        self._line.show(f"{progress['done']}/{progress['runs']} done{failed}{left} | {hands}")
