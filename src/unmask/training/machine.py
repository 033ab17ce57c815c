"""What speed depends on beside versions and settings: the processor and the cores that this process may use.

machine()           # {"cpu": "AMD EPYC", "architecture": "x86_64", "cores": 2, "system": "Linux"}
usable_cores()
"""

from __future__ import annotations

import os
import platform
from typing import Any

from unmask.model.number_types import processor_name


def machine() -> dict[str, Any]:
    """Processor, cores and system; no names."""
    place = {"architecture": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    return {"cpu": processor_name(), **place}


def usable_cores() -> int:
    """Those that the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
