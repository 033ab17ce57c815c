"""What a run can hand to others: its metrics to TensorBoard and Weights & Biases, a trace of some steps to a viewer.

    unmask train RECIPE --wandb offline          # pip install 'unmask[wandb]'; then wandb sync RUN/wandb/offline-run-*
    unmask train RECIPE --profile 3              # RUN/trace.json, for chrome://tracing or ui.perfetto.dev

The id of the W&B run lies in the run folder, so that a resumed run goes on as the same one; steps that are done again
come out the same, and are not taken twice there.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.files import beside, write_whole

BOARD, ID_FILE, TRACE_FILE = "tensorboard", "wandb-id", "trace.json"
EVENTS = "brain.Event:2"  # what TensorBoard calls the version of its files
PROJECT = "unmask"  # unless $WANDB_PROJECT says otherwise


def cannot_write(path: Path, error: OSError) -> UserError:
    """The line for a file of a run that cannot be written while it trains."""
    return UserError(f"{path} cannot be written: {error.strerror}; free space, then go on with --resume")


class Appending:
    """A file that records are added to, each at once on its way to the disk; a full disk is a `UserError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise cannot_write(path, error) from error

    def write(self, record: bytes) -> None:
        try:
            while record:  # a disk that is nearly full takes a part
                record = record[self._file.write(record) :]
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def close(self) -> None:
        self._file.close()


class Board:
    """TensorBoard's event files, written here and now: its own writer is a thread, which ends in a traceback."""

    def __init__(self, run: Path, resumed_at: int) -> None:
        """`resumed_at`: what was written for later steps is done again, and TensorBoard drops it."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"
        self._file = Appending(run / BOARD / name)
        self._records = RecordWriter(self._file)
        self._add(file_version=EVENTS)
        if resumed_at:
            self._add(step=resumed_at + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, scalars: dict[str, float], step: int) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._add(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        self._file.close()

    def _add(self, **fields: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())


def require_wandb(mode: str) -> None:
    """Raises `UserError` where a recipe wants W&B and it is not installed."""
    if mode != "off" and importlib.util.find_spec("wandb") is None:
        raise UserError(f"wandb: {mode} needs the package wandb; pip install 'unmask[wandb]', or set wandb: off")


class WandbRun:
    """One run there, opened anew or again."""

    def __init__(self, folder: Path, mode: str, recipe: dict[str, Any]) -> None:
        """`mode`: offline or online. Raises `UserError` where W&B cannot be reached or does not know the user."""
        import wandb

        path = folder / ID_FILE
        known = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
        if not known.isalnum():  # none yet, or not whole
            known = secrets.token_hex(4)
            write_whole(path, known + "\n")
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=known,
                name=folder.name,
                dir=str(folder),
                mode="offline" if mode == "offline" else "online",
                resume=None if mode == "offline" else "allow",  # offline the id alone does it, when it is synced
                config=recipe,
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise UserError(f"wandb: {mode} does not work ({reason}); log in, or set wandb: offline") from error
        except OSError as error:
            raise cannot_write(folder / "wandb", error) from error

    def write(self, scalars: dict[str, float], step: int) -> None:
        self._run.log(scalars, step=step)

    def close(self) -> None:
        self._run.finish()


class Trace:
    """Writes what `n` steps did, after one that is left out and one to warm up, as ``trace.json``; 0: nothing."""

    def __init__(self, folder: Path, n: int) -> None:
        self._profiler: Any = None
        self._path = folder / TRACE_FILE
        if n:
            self._profiler = torch.profiler.profile(
                schedule=torch.profiler.schedule(wait=1, warmup=1, active=n, repeat=1),
                on_trace_ready=self._write,
            )

    def __enter__(self) -> Trace:
        if self._profiler is not None:
            self._profiler.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._profiler is not None:
            self._profiler.stop()

    def step(self) -> None:
        """To be called after every step."""
        if self._profiler is not None:
            self._profiler.step()

    def _write(self, profiler: Any) -> None:
        """The trace, whole or not at all: the profiler says nothing where a disk is full."""
        with beside(self._path, "leave out profile") as partial:  # a folder: the profiler writes more than one file
            partial.mkdir()
            made = partial / TRACE_FILE
            try:
                profiler.export_chrome_trace(str(made))
            except RuntimeError as error:
                raise UserError(f"{self._path} cannot be written: {error}; free space, or leave out profile") from error
            with made.open("rb") as file:
                file.seek(max(0, made.stat().st_size - 16))
                whole = file.read().rstrip().endswith(b"}")
            if not whole:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            made.replace(self._path)
