"""Noise levels, masks and lengths are functions of (seed, k): golden values, stratification, independence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.diffusion.noise import GOLDEN, LENGTH_DRAW, noise_levels, sample_lengths, uniform_rows, uniforms

SEEDS = st.integers(0, 2**64 - 1)
GOLDEN_LEVELS = [0.44858458875223994, 0.06661857750213473, 0.6846525662520296]
GOLDEN_UNIFORMS = [0.30931491118583454, 0.3569562367935075, 0.036904530468356844]


def test_golden_values_never_change() -> None:
    # A change here changes every run's noise: it would break resuming runs of older versions.
    assert noise_levels(0, np.arange(3)).tolist() == pytest.approx(GOLDEN_LEVELS, abs=1e-15)
    assert uniforms(1, 2, 3).tolist() == pytest.approx(GOLDEN_UNIFORMS, abs=1e-15)


@given(SEEDS, st.integers(0, 2**40), st.integers(2, 400))
def test_any_contiguous_block_is_stratified(seed: int, start: int, n: int) -> None:
    levels = np.sort(noise_levels(seed, np.arange(start, start + n)))
    # The golden ratio's sequence: discrepancy O(log n / n); independent draws would exceed this for most n.
    assert np.abs(levels - (np.arange(n) + 0.5) / n).max() <= (1.5 + np.log(n)) / n


@given(SEEDS, st.integers(0, 2**62))
def test_level_depends_on_seed_and_index_alone(seed: int, k: int) -> None:
    assert noise_levels(seed, np.array([7, k]))[1] == noise_levels(seed, np.array([k]))[0]


def test_levels_are_exact_far_out() -> None:
    # In float32 arithmetic the level is off by up to 0.7 from k = 2^24 on.
    start = noise_levels(3, np.array([0]))[0]
    for k in (2**24, 2**24 + 1, 2**53 + 1):
        expected = (start + (k * GOLDEN % 2**64) / 2**64) % 1
        assert noise_levels(3, np.array([k]))[0] == pytest.approx(expected, abs=1e-12)


def test_uniforms_are_uniform_and_differ_by_every_argument() -> None:
    u = uniforms(0, 0, 4000)
    assert ((0 <= u) & (u < 1)).all()
    assert np.abs(np.sort(u) - (np.arange(4000) + 0.5) / 4000).max() < 0.03  # Kolmogorov-Smirnov, p > 1e-3
    for other in (uniforms(1, 0, 4000), uniforms(0, 1, 4000), uniforms(0, 0, 4000, draw=1)):
        assert not np.intersect1d(u, other).size
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.06
    # Large words must not pass through float64, where neighbours would fall together.
    assert not np.array_equal(uniforms(2**63 + 1, 0, 4), uniforms(2**63, 0, 4))
    assert not np.array_equal(uniforms(0, 2**63 + 1, 4), uniforms(0, 2**63, 4))


def test_prefixes_agree() -> None:
    assert np.array_equal(uniforms(5, 9, 100)[:40], uniforms(5, 9, 40))


@given(SEEDS, st.lists(st.integers(0, 2**64 - 1), max_size=5), st.integers(0, 9), st.integers(0, 2**64 - 1))
def test_rows_are_the_samples_own(seed: int, k: list[int], n: int, draw: int) -> None:
    rows = uniform_rows(seed, np.array(k, dtype=np.uint64), n, draw)
    assert rows.shape == (len(k), n)
    assert all(np.array_equal(row, uniforms(seed, index, n, draw)) for row, index in zip(rows, k, strict=True))


def test_random_lengths() -> None:
    k = np.arange(20000)
    lengths = sample_lengths(0, k, context=64, share=0.25)
    short = lengths < 64
    assert lengths.min() == 1 and lengths.max() == 64
    assert short.mean() == pytest.approx(0.25 * 63 / 64, abs=0.01)
    assert lengths[short].mean() == pytest.approx(32, abs=1)
    assert np.array_equal(lengths[500:600], sample_lengths(0, k[500:600], 64, 0.25))
    assert (sample_lengths(0, k[:50], 64, 0.0) == 64).all()
    assert LENGTH_DRAW > 2**32  # no draw of a mask can reach it
