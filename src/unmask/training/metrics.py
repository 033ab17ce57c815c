"""What a run says while it runs: ``metrics.jsonl``, TensorBoard, Weights & Biases if asked, and a line on stderr.

    metrics = Metrics(run_folder, steps=1000, resumed_at=0)
    metrics.write("train", step=10, loss=5.9, ...)

One JSON object a line, ``kind`` being "train" or "validation". A resumed run first drops the lines of steps that are
done again, so that the file reads as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.files import reading, write_whole
from unmask.terminal import LiveLine, clock
from unmask.training.tracking import Appending, Board, WandbRun

METRICS = "metrics.jsonl"
LEVEL_BUCKETS = 10
PLAIN_SECONDS = 10.0


def add_by_level(total: list[float], count: list[int], level_B: torch.Tensor, ce_B: torch.Tensor) -> None:
    """Adds each sequence's mean cross-entropy to the bucket of its mask share, where no 1/t looks like divergence."""
    for level, ce in zip(level_B.tolist(), ce_B.tolist(), strict=True):
        if math.isfinite(ce):
            bucket = min(int(level * LEVEL_BUCKETS), LEVEL_BUCKETS - 1)
            total[bucket] += ce
            count[bucket] += 1


def level_means(total: list[float], count: list[int]) -> list[float | None]:
    """One value per bucket of the mask share, None where nothing fell."""
    return [t / c if c else None for t, c in zip(total, count, strict=True)]


def read_records(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl but for what is not whole. Raises `UserError` where it cannot be read."""
    try:
        with reading():
            text = (run / METRICS).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{run / METRICS} cannot be read: {error.strerror}; give a run that has trained") from error
    records = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line of a process that was killed
        if isinstance(record, dict) and "kind" in record and isinstance(record.get("step"), int):
            records.append(record)
    return records


def copy_records(source: Path, out: Path, step: int) -> None:
    """The lines of a run up to a step, as those of another run, or of its own from now on."""
    if (source / METRICS).exists():
        kept = [record for record in read_records(source) if record["step"] <= step]
        write_whole(out / METRICS, "".join(json.dumps(record) + "\n" for record in kept))


class Metrics:
    """Writes the records of one run."""

    def __init__(self, run: Path, steps: int, resumed_at: int, wandb: WandbRun | None = None) -> None:
        self._path, self._steps, self._wandb = run / METRICS, steps, wandb
        copy_records(run, run, resumed_at or -1)  # a run that begins anew keeps nothing
        self._file = Appending(self._path)
        self._board = Board(run, resumed_at)
        self._terminal = LiveLine(PLAIN_SECONDS)

    def write(self, kind: str, **values: Any) -> None:
        record = {"kind": kind, **values}
        self._file.write((json.dumps(record) + "\n").encode())
        scalars = as_scalars(kind, values)
        self._board.write(scalars, values["step"])
        if self._wandb is not None:
            self._wandb.write(scalars, values["step"])

    def line(self, step: int, loss: float | None, rate: float, share: float, left: float, skipped: int) -> None:
        """The live line; off a terminal a plain one now and then. First what matters most: a narrow terminal cuts."""
        known = "not finite" if loss is None else f"{loss:.4f}"
        skips = f" | {skipped} skipped" if skipped else ""
        speed = f"{rate:,.0f} tokens/s | {share:.0%} of matmul peak"
        text = f"step {step}/{self._steps} | loss {known} | {clock(left)} left{skips} | {speed}"
        self._terminal.show(text, last=step >= self._steps)

    def say(self, text: str) -> None:
        self._terminal.say(text)

    def close(self) -> None:
        self._terminal.clear()
        self._file.close()
        self._board.close()
        if self._wandb is not None:
            self._wandb.close()


def as_scalars(kind: str, values: dict[str, Any]) -> dict[str, float]:
    """A record's numbers but its step under ``kind/name``, those of a list under ``kind/name/index``."""
    scalars: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, list):
            scalars |= {f"{kind}/{name}/{index}": part for index, part in enumerate(value) if part is not None}
        elif name != "step" and isinstance(value, int | float):
            scalars[f"{kind}/{name}"] = value
    return scalars


class Silence:
    """`Metrics` of a rank that another one speaks for."""

    def write(self, kind: str, **values: Any) -> None: ...

    def line(self, *values: Any) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class Clock:
    """Time, tokens and FLOPs since the last line of metrics, pauses apart; what is left, by the steps of this call."""

    def __init__(self) -> None:
        self._steps, self._seconds, self._first = 0, 0.0, 0.0
        self.restart()

    def restart(self) -> None:
        self._since, self.tokens, self.flops, self.waited = time.monotonic(), 0, 0.0, 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def step(self, seconds: float, tokens: int, flops: float) -> None:
        """A step is done."""
        self.tokens += tokens
        self.flops += flops
        self._steps += 1
        self._seconds += seconds
        if self._steps == 1:
            self._first = seconds

    def left(self, steps: int) -> float:
        """Seconds that so many steps take, by the mean of all steps of this call: one that the machine held up weighs
        no more than its share. The first is left out once there are others, since it compiles and warms up.
        """
        if self._steps < 2:
            return steps * self._seconds
        return steps * (self._seconds - self._first) / (self._steps - 1)

    @contextmanager
    def paused(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """FLOP/s of the best of a few large matrix products: what this machine can do now, on these threads.

    On a CPU eight products of 512^3 at once, which all threads share; a single one in bf16 may run on one alone.
    """
    shape = (1, 4096, 4096) if device.type == "cuda" else (8, 512, 512)
    a = torch.randn(shape, device=device).to(dtype)
    best, end = 0.0, time.monotonic() + seconds
    while True:
        start = time.monotonic()
        torch.bmm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2.0 * shape[0] * shape[1] ** 3 / (time.monotonic() - start))
        if time.monotonic() > end:
            return best


def peak_memory(device: torch.device) -> int:
    """Bytes at the most so far: the device's allocator, or this process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # what getrusage says begins at the size of the process that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
