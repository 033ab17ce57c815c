"""What a number must carry to be had again: versions, commit, and the machine. One record for all results.

    versions()           # {"unmask": "0.1.0", "python": "3.11.7", "torch": "2.13.0", ...}
    code()               # {"version": "0.1.0", "commit": "1a2b3c4d5e6f"}, the commit where the package is a checkout
    machine()            # {"cpu": "AMD EPYC", "architecture": "x86_64", "cores": 2, "system": "Linux"}
    usable_cores()       # those that the system lets this process run on

No names of hosts, users or folders. Imports nothing heavy, so that any module may record where it ran.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from unmask._version import __version__

PACKAGES = ("torch", "numpy", "tokenizers", "safetensors", "transformers", "lm_eval", "datasets")
CPUINFO = Path("/proc/cpuinfo")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of unmask, Python and the packages that numbers depend on, as far as they are installed."""
    numbers = {"unmask": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            numbers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return numbers


def code() -> dict[str, str | None]:
    """The version, and the commit where the package is a checkout."""
    return {"version": __version__, "commit": commit_of(Path(__file__).parent)}


def commit_of(folder: Path) -> str | None:
    """The first twelve digits of a checkout's commit; None where the folder is in none, or there is no git."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def machine() -> dict[str, Any]:
    """Processor, cores and system; no names."""
    place = {"architecture": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    return {"cpu": processor_name(), **place}


@cache
def processor_name() -> str:
    """As the system calls it. Two of one name may still differ in flags, and in speed."""
    names = (line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def cpuinfo() -> list[str]:
    """The lines of /proc/cpuinfo; none where a system has no such file."""
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def usable_cores() -> int:
    """Those that the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
