"""A sweep's runs over a Ray cluster: each run a task with the CPUs of its threads, on whatever machine has them free.

    pip install 'unmask[scale]'
    unmask scale run plan.yaml --out /shared/sweep --ray

The cluster is that of RAY_ADDRESS, else the one that runs here, else a new one on this machine. A task does what
`scale run` does itself: it claims the run by its lock, and trains and scores it in a child process (`job.py`). So sweep
and data must lie on a disk that all machines share, as for `--shard`, and a sweep may be worked on by Ray and by others
at once. Where a worker dies, Ray starts its task again, elsewhere if need be: the child of the dead one saves when it
is told of that, the new task waits for it, and goes on from its checkpoint.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import IO, Any

from unmask.errors import UserError
from unmask.scaling.job import KILLS, Job
from unmask.scaling.machine import has_type
from unmask.scaling.options import RunOptions
from unmask.scaling.runner import PATIENCE, POLL_SECONDS, Runner
from unmask.scaling.runs import PlannedRun
from unmask.scaling.sweep import Sweep
from unmask.terminal import on_signals

CONNECT_SECONDS = 10.0
ELSEWHERE = "elsewhere"  # the outcome of a run that others have in hand


class ClusterRunner(Runner):
    """The same loop with jobs that run elsewhere, as many as the cluster has CPUs for, or as `--jobs` says."""

    def __init__(self, sweep: Sweep, options: RunOptions) -> None:
        super().__init__(shared(sweep), options)
        self.jobs = options.jobs or len(sweep.plan.runs)

    def __enter__(self) -> Runner:
        connect(self.threads)  # before signals are taken: Ray has its own idea of SIGTERM
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        import ray

        super().__exit__(*error)
        ray.shutdown()

    def _begun(self, run: PlannedRun) -> Any:
        return ClusterJob(self.sweep, run, self.threads, self.options.precision)


class ClusterJob:
    """A run in the hands of a Ray task; with the face of `Job`."""

    def __init__(self, sweep: Sweep, run: PlannedRun, threads: int, precision: str | None) -> None:
        import ray

        self.sweep, self.run = sweep, run
        self.outcome: str | None = None
        self.reason = ""
        self._stopping = self._cancelled = False
        task = ray.remote(work_on).options(name=run.name, num_cpus=threads, max_retries=KILLS - 1)
        self._task = task.remote(sweep, run, threads, precision)

    def poll(self) -> bool:
        """Whether it is still in hand."""
        import ray

        if self._stopping and not self._cancelled:
            self._cancelled = True
            ray.cancel(self._task)
        if self.outcome is None and ray.wait([self._task], timeout=0)[0]:
            self._ended()
        return self.outcome is None

    def _ended(self) -> None:
        import ray
        from ray.exceptions import RayError, RayTaskError, TaskCancelledError

        try:
            self.outcome, self.reason = ray.get(self._task)
        except TaskCancelledError:
            if not self.sweep.held(self.run.name):  # its child has saved
                self.outcome = "cut"
        except RayTaskError as error:
            self._fail(str(error.cause).strip().splitlines()[-1])
        except RayError as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            self._fail(f"its worker died {KILLS} times ({type(error).__name__}: {reason})")

    def _fail(self, reason: str) -> None:
        self.outcome, self.reason = "failed", reason
        self.sweep.fail(self.run.name, reason)

    def stop(self, number: int) -> None:
        """The task is told with the next `poll`: this may be called by a signal in the middle of Ray's own work."""
        self._stopping = True


def work_on(sweep: Sweep, run: PlannedRun, threads: int, precision: str | None) -> tuple[str, str]:
    """A task: outcome and reason of a run that is trained and scored on this machine.

    A signal reaches the child, which saves; so does the end of this process, however it came about.
    """
    wanted = precision or run.precision
    if not has_type(wanted):
        raise UserError(f"{wanted} is not in the processor of {os.uname().nodename}; add --precision fp32 with --retry")
    claim = _claimed(sweep, run)
    if claim is None:
        return ELSEWHERE, ""
    if run.name in sweep.rows():
        claim.close()
        return "done", ""
    job = Job(sweep, run, claim, threads, precision)
    with on_signals(lambda *_: job.stop(signal.SIGTERM)):
        while job.poll():
            time.sleep(POLL_SECONDS)
    return str(job.outcome), job.reason


def _claimed(sweep: Sweep, run: PlannedRun) -> IO[str] | None:
    """The run's lock, which the child of a worker that died may still hold while it saves."""
    end = time.monotonic() + PATIENCE
    while (claim := sweep.claim(run)) is None and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return claim


def shared(sweep: Sweep) -> Sweep:
    """With paths that hold from any working directory."""
    spec = sweep.plan.spec
    spec = dataclasses.replace(spec, data=os.path.abspath(spec.data))
    return Sweep(Path(os.path.abspath(sweep.path)), dataclasses.replace(sweep.plan, spec=spec))


def connect(threads: int) -> None:
    """Joins a cluster, or begins one here. Raises `UserError` where none answers, or no machine has so many CPUs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    where = os.environ.get("RAY_ADDRESS", "")
    try:
        host, _, port = where.removeprefix("ray://").rpartition(":")
        if port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many kinds: the network's, gRPC's, another version's
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"no Ray cluster answers at {where or 'this machine'} ({why}); look at RAY_ADDRESS") from error
    most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if most < threads:
        ray.shutdown()
        raise UserError(f"no machine of the Ray cluster has {threads} CPUs, the most is {most:g}; lower --threads")
