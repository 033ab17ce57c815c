"""Which window the k-th training sample is: a global shuffle per epoch, computed instead of stored.

    WindowSampler(n_windows=3_000_000_000, seed=0).windows(np.arange(8))   # int64[8], each in [0, n_windows)

Sample k lies in epoch k // n and takes the place k % n in that epoch's permutation of the n windows. The
permutation is a generalised Feistel network with cycle walking (Black and Rogaway, "Ciphers with Arbitrary
Finite Domains", 2002): a place is written as a pair (left, right) of base-b digits with b = ceil(sqrt(n)),
each round adds a keyed hash of one to the other modulo b, and a result at or beyond n is put through again.
Rounds are keyed by (seed, epoch, round). So the order needs no memory, any rank computes any part of it,
and a resumed run finds its place from k alone.

Integer arithmetic only (uint64, wrapping), so every machine gives the same order.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

ROUNDS = 12  # with 8, neighbours in epochs of fewer than 10 windows are measurably not independent
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


class WindowSampler:
    """A permutation of ``range(n_windows)`` for each epoch; equal (n_windows, seed) are equal samplers."""

    def __init__(self, n_windows: int, seed: int) -> None:
        if not 1 <= n_windows <= 1 << 62:
            raise ValueError(f"n_windows is {n_windows}; it must be 1 to 2**62")
        self.n_windows = int(n_windows)
        self.seed = int(seed)
        self._base = np.uint64(isqrt(self.n_windows - 1) + 1)  # ceil(sqrt(n)): at most 2 sqrt(n) + 1 places in vain
        self._key = _mix(np.array([self.seed & _MASK], dtype=np.uint64) + _GOLDEN)[0]

    def windows(self, k: np.ndarray) -> np.ndarray:
        """The windows of samples `k` (integers >= 0, any shape): int64 of the same shape."""
        k = np.asarray(k)
        if k.dtype.kind not in "iu":
            raise TypeError(f"sample indices must be integers, not {k.dtype}")
        if k.size and k.dtype.kind == "i" and k.min() < 0:
            raise ValueError("sample indices must not be negative")
        n = np.uint64(self.n_windows)
        epoch, place = np.divmod(k.astype(np.uint64).ravel(), n)
        keys = _mix(epoch * _GOLDEN + self._key)
        out = self._permute(place, keys)
        while (beyond := np.flatnonzero(out >= n)).size:
            out[beyond] = self._permute(out[beyond], keys[beyond])
        return out.astype(np.int64).reshape(k.shape)

    def _permute(self, place: np.ndarray, keys: np.ndarray) -> np.ndarray:
        base = self._base
        left, right = np.divmod(place, base)
        for round_ in range(ROUNDS):
            noise = _mix(_mix(keys + np.uint64(round_)) + right) % base
            left, right = right, (left + noise) % base
        return left * base + right


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): a bijection of uint64 that scatters bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
