"""The order is a permutation per epoch, looks random, and is the same however it is asked for."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.order import WindowSampler

SIZES = st.integers(1, 5000)
SEEDS = st.integers(0, 2**63)


def chi_square_sigmas(counts: np.ndarray) -> float:
    """How many standard deviations Pearson's statistic lies above its mean, were all cells equally likely."""
    expected, freedom = counts.mean(), counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


def kolmogorov(cumulative: np.ndarray) -> float:
    """sqrt(n) times the largest gap between a sample (each value's theoretical CDF) and the theory."""
    steps = np.arange(1, cumulative.size + 1) / cumulative.size
    return float(np.abs(np.sort(cumulative) - steps).max() * np.sqrt(cumulative.size))


@given(n=SIZES, seed=SEEDS, epoch=st.integers(0, 10**6))
def test_each_epoch_visits_each_window_once(n, seed, epoch):
    order = WindowSampler(n, seed).windows(np.arange(n) + epoch * n)
    assert order.dtype == np.int64
    assert (np.sort(order) == np.arange(n)).all()


@given(n=st.integers(30, 5000), seed=SEEDS)
def test_epochs_and_seeds_differ(n, seed):
    k = np.arange(n)
    first = WindowSampler(n, seed).windows(k)
    assert (first != k).any()
    assert (first != WindowSampler(n, seed).windows(k + n)).any()
    assert (first != WindowSampler(n, seed + 1).windows(k)).any()


@given(n=SIZES, seed=SEEDS, k=st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_one_by_one_equals_all_at_once(n, seed, k):
    sampler = WindowSampler(n, seed)
    together = sampler.windows(np.array(k))
    assert together.tolist() == [int(sampler.windows(np.array([i]))[0]) for i in k]
    assert together.tolist() == sampler.windows(np.array(k, dtype=np.uint64)).tolist()
    assert together.reshape(1, -1).tolist() == sampler.windows(np.array([k])).tolist()  # keeps the shape


@pytest.mark.parametrize("n", [3_000_000_000, 2**62])
def test_billions_of_windows(n):
    k = np.concatenate([np.arange(50_000), n - 1 - np.arange(50_000), n + np.arange(50_000)]).astype(np.uint64)
    windows = WindowSampler(n, 1).windows(k)
    assert windows.min() >= 0 and windows.max() < n
    assert len(np.unique(windows[:100_000])) == 100_000  # one epoch: no window twice
    assert kolmogorov(windows / n) < 1.95  # exceeded by chance once in 1000
    apart = np.abs(windows[::2] - windows[1::2]) / n
    assert kolmogorov(1 - (1 - apart) ** 2) < 1.95  # neighbours are independent


@pytest.mark.parametrize("n", [2, 3, 7, 16, 101])
def test_each_place_holds_each_window_equally_often(n):
    epochs = 20_000
    order = WindowSampler(n, 11).windows(np.arange(n * epochs)).reshape(epochs, n)
    tables = [np.bincount(order[:, place], minlength=n) for place in (0, n // 2, n - 1)]
    pairs = np.bincount(order[:, 0] * n + order[:, 1], minlength=n * n).reshape(n, n)  # first two places
    tables.append(pairs[~np.eye(n, dtype=bool)])
    tables.append(np.bincount(order[:-1, 0] * n + order[1:, 0], minlength=n * n))  # one place, two epochs
    assert max(map(chi_square_sigmas, tables)) < 4


def test_the_order_is_what_it_always_was():
    # A changed order would silently break the resumption of every run made before.
    k = np.arange(100_000)
    digest = hashlib.sha256(WindowSampler(12_345, 42).windows(k).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "20e47761f02f6541"


@pytest.mark.parametrize("seed", [-1, 2**64, 2**200 + 5])
def test_any_whole_number_is_a_seed(seed):
    assert sorted(WindowSampler(10, seed).windows(np.arange(10))) == list(range(10))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="n_windows is 0"):
        WindowSampler(0, 1)
    with pytest.raises(ValueError, match="negative"):
        WindowSampler(5, 1).windows(np.array([-1]))
    with pytest.raises(TypeError, match="integers"):
        WindowSampler(5, 1).windows(np.array([0.5]))
    assert WindowSampler(5, 1).windows(np.array([], dtype=np.int64)).shape == (0,)
