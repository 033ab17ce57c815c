"""Where the time of a training step goes: phases by the clock, operators by `torch.profiler`.

    phases(arm, step)                         # {"data": 0.0001, "layers, forward": 0.31, ...} seconds a step
    profile(arm, step, "trace.json")          # a Chrome trace, operators by their share, the share of matrix products

Used by `unmask bench train --profile FILE`. The clock runs without the profiler, which slows small operators down.
"""

from __future__ import annotations

import functools
import re
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from unmask.bench.train.arms import Arm, Ours

# Matrix products and attention; the rest is elementwise work, norms, copies and overhead.
MATMUL = re.compile(r"^aten::(addmm|mm|bmm|baddbmm|_\w*scaled_dot_product\w*|_flash_attention\w*)$|gemm|mkl")
SHOWN = 16


def phases(arm: Arm, step: int, steps: int = 3) -> dict[str, float]:
    """Seconds a step (medians): data, layers, head and loss (with the gradient it may make), backward, update."""
    assert isinstance(arm, Ours), "phases are those of our step"
    clocks: dict[str, float] = {}
    parts: list[dict[str, float]] = []
    with ExitStack() as stack:
        for owner, name in (
            (arm.network, "hidden"),
            (arm.objective, "loss"),
            (arm.engine, "forward_backward"),
            (arm.engine, "update"),
        ):
            stack.enter_context(timed(owner, name, clocks, arm.device))
        for index in range(steps):
            clocks.clear()
            started = time.perf_counter()
            arm.step(step + index)
            whole = time.perf_counter() - started
            parts.append(
                {
                    "data": whole - clocks["forward_backward"] - clocks["update"],
                    "layers, forward": clocks["hidden"],
                    "head and loss": clocks["loss"] - clocks["hidden"],
                    "backward": clocks["forward_backward"] - clocks["loss"],
                    "clip and optimizer": clocks["update"],
                }
            )
    return {name: statistics.median(part[name] for part in parts) for name in parts[0]}


@contextmanager
def timed(owner: Any, name: str, clocks: dict[str, float], device: torch.device) -> Any:
    """Adds the time of each call of a method to `clocks[name]`."""
    method: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(method)
    def call(*args: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        result = method(*args, **keywords)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        clocks[name] = clocks.get(name, 0.0) + time.perf_counter() - started
        return result

    setattr(owner, name, call)
    try:
        yield
    finally:
        delattr(owner, name)


def profile(arm: Arm, step: int, path: str, steps: int = 2) -> dict[str, Any]:
    """Traces some steps into `path`; operators by their share of all operators' own time."""
    on_gpu = arm.device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profiler:
        for index in range(steps):
            arm.step(step + index)
    profiler.export_chrome_trace(path)
    own = {
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count)
        for event in profiler.key_averages()
    }
    total = sum(spent for spent, _ in own.values())
    products = sum(spent for name, (spent, _) in own.items() if MATMUL.search(name))
    longest = sorted(own.items(), key=lambda item: -item[1][0])[:SHOWN]
    return {
        "trace": path,
        "matmul_share": products / total,
        "operators": [(name, spent / total, count // steps) for name, (spent, count) in longest],
    }
