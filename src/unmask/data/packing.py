"""Several examples in one window, so that no arithmetic is spent on padding.

    plan = pack(lengths, capacity=2048)        # a list of arrays of example numbers

Best fit in order of decreasing length (Johnson, "Near-optimal bin packing algorithms", 1973: at most 11/9 of the fewest
windows). The plan depends on the lengths alone, so every rank makes the same one; an epoch shuffles windows, and each
keeps its examples.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np


def pack(lengths: np.ndarray, capacity: int) -> list[np.ndarray]:
    """Numbers of the examples in each window, in the order in which they stand there; none is cut.

    Raises `ValueError` where an example is longer than `capacity`.
    """
    if len(lengths) and int(lengths.max()) > capacity:
        raise ValueError(f"an example of {lengths.max()} tokens does not fit a window of {capacity}")
    windows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, window), sorted
    for example in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[example])
        at = bisect_left(room, (length, -1))
        if at == len(room):
            left, window = capacity, len(windows)
            windows.append([])
        else:
            left, window = room.pop(at)
        windows[window].append(example)
        if left > length:
            insort(room, (left - length, window))
    return [np.array(window, dtype=np.int64) for window in windows]
