"""Randomness as a function of (seed, sample index k, draw), never a state.

    noise_levels(seed=0, k=np.arange(8))         # float64[8] in [0, 1): a low-discrepancy sequence
    uniforms(seed=0, k=5, n=256, draw=0)         # float64[256]: Philox keyed by (seed, k), draw as a counter word

So a resumed run, a run on other ranks and a run with another micro-batch see the same levels, masks and lengths, on
every device (all is computed on the CPU). Levels: t_k = ((u_seed + k * 0x9E3779B97F4A7C15) mod 2^64) / 2^64, the golden
ratio's additive recurrence in integer arithmetic (a float32 product is off by 0.7 near k = 2^24): any contiguous block
of samples is stratified. Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
# Draws of one sample that are not masks live far above any number of masks one could ask for.
LENGTH_DRAW = 1 << 62
PROMPT_DRAW = LENGTH_DRAW + 1
DROPOUT_DRAW = LENGTH_DRAW + 2
SPAN_DRAW = LENGTH_DRAW + 3


def noise_levels(seed: int, k: np.ndarray) -> np.ndarray:
    """t for each sample index (integers >= 0, any shape): float64 in [0, 1)."""
    start = _philox(seed, _WORD, 0).random_raw()
    steps = np.asarray(k).astype(np.uint64) * np.uint64(GOLDEN) + np.uint64(start)
    return _unit(steps)


def uniforms(seed: int, k: int, n: int, draw: int = 0) -> np.ndarray:
    """n independent uniforms in [0, 1), float64, for sample k and a draw of it."""
    return _unit(_philox(seed, int(k), draw).random_raw(n))


class Uniforms:
    """`uniforms` again and again: one generator set anew costs a fifth of many. Of one thread alone."""

    def __init__(self) -> None:
        self._generator = _philox(0, 0, 0)
        self._state = self._generator.state

    def rows(self, seeds: Sequence[tuple[int, int]], draws: Sequence[int], n: int) -> np.ndarray:
        """float64 [len(seeds), n]: of each (seed, k) and draw the first n."""
        words, state = np.empty((len(seeds), n), dtype=np.uint64), self._state["state"]
        for row, (seed, k), draw in zip(words, seeds, draws, strict=True):
            state["key"][0], state["key"][1], state["counter"][3] = seed & _WORD, k & _WORD, draw & _WORD
            self._generator.state = self._state
            row[:] = self._generator.random_raw(n)
        return _unit(words)


def uniform_rows(seed: int, k: np.ndarray, n: int, draw: int = 0) -> np.ndarray:
    """`uniforms` of many samples, float64 [len(k), n]."""
    return Uniforms().rows([(seed, int(index)) for index in k], [draw] * len(k), n)


def dropout_keys(seed: int, k: np.ndarray, layers: int) -> np.ndarray:
    """int64 [len(k), layers], 32 bits each: what `model.dropout` makes each sample's masks of."""
    return (uniform_rows(seed, k, layers, DROPOUT_DRAW) * 2.0**32).astype(np.int64)


def span_numbers(seed: int, k: np.ndarray, n: int, span: int) -> np.ndarray:
    """int64 [len(k), n]: which span of `span` neighbours each place of a sample is in; the first one's end is drawn."""
    before = (uniform_rows(seed, k, 1, SPAN_DRAW) * span).astype(np.int64)
    return (np.arange(n) + before) // span


def _philox(seed: int, k: int, draw: int) -> np.random.Philox:
    # Arrays of the right type: a list with a word above 2^63 would pass through float64.
    key = np.array([seed & _WORD, k & _WORD], dtype=np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, 0, draw & _WORD], dtype=np.uint64))


def _unit(words: np.ndarray) -> np.ndarray:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_lengths(seed: int, k: np.ndarray, context: int, share: float) -> np.ndarray:
    """int64 length of each sample: `context`, or for a `share` of samples uniform on 1..context (1% in the paper)."""
    lengths = np.full(len(k), context, dtype=np.int64)
    if share > 0:
        draws = uniform_rows(seed, k, 2, LENGTH_DRAW)
        short = draws[:, 0] < share
        lengths[short] = 1 + (draws[short, 1] * context).astype(np.int64)
    return lengths
