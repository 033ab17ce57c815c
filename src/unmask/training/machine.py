"""What speed depends on beside versions and settings: the processor, what it can do, and the cores at hand.

machine()           # {"cpu": "AMD EPYC", "architecture": "x86_64", "cores": 2, "system": "Linux"}
has_bf16()          # whether the processor says it multiplies bf16 itself
usable_cores()
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

# Names of instructions that multiply bf16: AMX, AVX-512, AVX10 and ARM's.
BF16 = ("amx_bf16", "avx512_bf16", "avx10_2", "bf16", "sve_bf16")


def machine() -> dict[str, Any]:
    """Processor, cores and system; no names."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "architecture": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}


def has_bf16() -> bool:
    """Elsewhere bf16 is made of fp32 and a hundred times slower."""
    return bool(capabilities().intersection(BF16))


def capabilities() -> set[str]:
    """Names of the processor's instruction sets; of older versions of PyTorch the two that tell of bf16."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    found = {"amx_bf16": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
    return {name for name, ask in found.items() if getattr(torch.cpu, ask, bool)()}


def usable_cores() -> int:
    """Those that the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
