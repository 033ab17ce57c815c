"""Seconds of a measurement.

result, seconds = timed(lambda: generate(model, prompts, 32))
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def clock(threads: int) -> float:
    """Seconds: this process's own with one thread, so that what else runs on the machine does not count; else by the
    clock on the wall."""
    return time.process_time() if threads == 1 else time.perf_counter()


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """What a call returns, and its seconds by `clock` at PyTorch's number of threads."""
    import torch

    threads = torch.get_num_threads()
    started = clock(threads)
    result = call()
    return result, clock(threads) - started
