"""Memory on a CPU: keep what a step frees for the next one.

    keep_freed_memory()

glibc gives every freed block above 32 MiB, and the top of the heap, back to the kernel; the next step asks for the same
blocks and pays for each page again: a fault and 4 KiB of zeros. A training step allocates the same sizes every time, so
its memory may as well stay. Peak memory does not change. Elsewhere than glibc this does nothing.
"""

from __future__ import annotations

import ctypes
import sys

# From malloc.h: the size above which a block is mapped on its own, and the free top of the heap that is kept.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 30  # glibc takes ints


def keep_freed_memory() -> bool:
    """Whether this process now keeps freed memory."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, 2 * LARGEST - 1))
