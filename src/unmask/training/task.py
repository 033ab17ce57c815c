"""What a run trains on: pretraining windows or fine-tuning examples, behind one face.

    task = build_task(recipe, ...)
    for parts in Ahead(task, micro_batches, device): ...      # the next step is prepared while this one computes

All methods depend on (seed, sample index) alone, so every rank can ask about any sample without talking to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch

from unmask.diffusion.objective import Inputs
from unmask.model.folder import Model


class Task(Protocol):
    """Samples by index, and how they are scored."""

    n_samples: int  # of one epoch
    length: int  # of a usual sequence, for the cost of attention
    mean_tokens: float  # of a sample, for the budget
    head_share: float  # expected share of tokens that the head is computed for

    def order(self, k: np.ndarray) -> np.ndarray:
        """A step's samples in the order in which they are cut into micro-batches."""

    def inputs(self, k: np.ndarray) -> Inputs:
        """A micro-batch, on the CPU."""

    def n_tokens(self, k: np.ndarray) -> int:
        """Tokens that the samples stand for."""

    def divisor(self, k: np.ndarray) -> float:
        """What the summed loss of a whole batch is divided by."""

    def validate(self, model: Model) -> dict[str, Any]:
        """Held-out `loss` (nats per scored token), its standard error `se` and 95% `interval`."""


class Ahead:
    """Prepares the micro-batches of the step after this one in a thread, so that no step waits for its data."""

    def __init__(self, task: Task, micro_batches: Callable[[int], list[np.ndarray]], device: torch.device) -> None:
        """`micro_batches`: a step's sample indices on this rank."""
        self._task, self._micro_batches, self._device = task, micro_batches, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._next: tuple[int, Future[list[Inputs]]] | None = None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def step(self, step: int, last: bool = False) -> list[Inputs]:
        """The micro-batches of a step, on the device; `last`: none will be asked for after it."""
        ready = self._next[1] if self._next and self._next[0] == step else self._thread.submit(self._prepare, step)
        self._next = None if last else (step + 1, self._thread.submit(self._prepare, step + 1))
        return [inputs.to(self._device) for inputs in ready.result()]

    def _prepare(self, step: int) -> list[Inputs]:
        parts = [self._task.inputs(k) for k in self._micro_batches(step)]
        return [part.pinned() for part in parts] if self._device.type == "cuda" else parts
