"""What a run's numbers may depend on beside its settings: the processor, the types it has, the code.

machine()            # "AMD EPYC, 2 cores"
has_type("bf16")     # whether that type is in hardware here
code()               # {"version": "0.1.0", "commit": "1a2b3c4"}
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

import unmask
from unmask._version import __version__


def machine() -> str:
    """Processor and cores; no name of the host."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    if torch.cuda.is_available():
        model = torch.cuda.get_device_name()
    return f"{model}, {os.cpu_count()} cores"


def has_type(precision: str) -> bool:
    """Whether training in that type is no emulation on this machine."""
    if precision != "bf16" or torch.cuda.is_available():
        return True
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def code() -> dict[str, str | None]:
    """The version, and the commit where the package is a checkout."""
    found = None
    try:
        command = ["git", "-C", str(Path(unmask.__file__).parent), "rev-parse", "--short=12", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        found = done.stdout.strip() or None if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        pass
    return {"version": __version__, "commit": found}
