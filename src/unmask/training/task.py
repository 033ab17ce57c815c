"""What a run trains on: pretraining windows or fine-tuning examples, behind one face.

    task = build_task(recipe, ...)
    with Ahead(task, 256, share, device) as ahead:
        batch = ahead.step(0)                           # the next one is prepared while this one computes

All methods depend on (seed, sample index) alone, so every rank can ask about any sample without talking to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
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

    def divisor(self, k: np.ndarray, n_tokens: int | None = None) -> float:
        """What the summed loss of a whole batch is divided by; `n_tokens`: what its samples stand for, if known."""

    def validate(self, model: Model) -> dict[str, Any]:
        """Held-out `loss` (nats per scored token), its standard error `se` and 95% `interval`."""


@dataclass
class Batch:
    """A step's samples: those of this rank as tensors, and what the whole batch of all ranks counts."""

    parts: list[Inputs]  # micro-batches
    n_tokens: int
    divisor: float


class Ahead:
    """Prepares the batch of the step after this one in a thread, counts included, so that no step waits for it."""

    def __init__(
        self, task: Task, batch_size: int, share: Callable[[np.ndarray], list[np.ndarray]], device: torch.device
    ) -> None:
        """`share`: the micro-batches of this rank out of a batch's ordered sample indices."""
        self._task, self._batch_size, self._share, self._device = task, batch_size, share, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._next: tuple[int, Future[Batch]] | None = None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def step(self, step: int, last: bool = False) -> Batch:
        """The batch of a step, on the device; `last`: none will be asked for after it."""
        ready = self._next[1] if self._next and self._next[0] == step else self._thread.submit(self._prepare, step)
        self._next = None if last else (step + 1, self._thread.submit(self._prepare, step + 1))
        batch = ready.result()
        return replace(batch, parts=[inputs.to(self._device) for inputs in batch.parts])

    def _prepare(self, step: int) -> Batch:
        k = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        parts = [self._task.inputs(part) for part in self._share(self._task.order(k))]
        if self._device.type == "cuda":
            parts = [part.pinned() for part in parts]
        n_tokens = self._task.n_tokens(k)
        return Batch(parts, n_tokens, self._task.divisor(k, n_tokens))
