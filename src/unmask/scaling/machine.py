"""What a run's numbers may depend on beside its settings: the processor, the types it has, the code.

machine()            # "AMD EPYC, 2 cores"
has_type("bf16")     # whether that type is in hardware here
code()               # {"version": "0.1.0", "commit": "1a2b3c4"}
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

import unmask
from unmask._version import __version__
from unmask.model.number_types import processor_has_bf16
from unmask.training.machine import machine as facts


def machine() -> str:
    """Processor and cores, or the GPU; no name of the host."""
    found = facts()
    model = torch.cuda.get_device_name() if torch.cuda.is_available() else found["cpu"] or found["architecture"]
    return f"{model}, {found['cores']} cores"


def has_type(precision: str) -> bool:
    """Whether training in that type is no emulation on this machine."""
    return precision != "bf16" or torch.cuda.is_available() or processor_has_bf16()


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
