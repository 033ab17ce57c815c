"""Masks, levels and weights: what makes the estimators unbiased, whatever the model."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.likelihood.estimators import (
    EXACT_LIMIT,
    MAX_GROUPS,
    check_draws,
    check_method,
    combine,
    fixed_mask,
    group_sizes,
    looks,
    stratified_levels,
)


@given(st.integers(1, 2000), st.integers(1, 8))
def test_groups_share_the_draws(draws: int, smallest: int) -> None:
    sizes = group_sizes(draws, smallest)
    assert sum(sizes) == draws and max(sizes) - min(sizes) <= 1
    assert len(sizes) <= MAX_GROUPS
    assert len(sizes) >= 2 or draws == 1
    assert min(sizes) >= smallest or len(sizes) == min(2, draws)


@given(st.integers(0, 2**63), st.integers(0, 2**64 - 1), st.integers(2, 300))
def test_levels_are_stratified_within_every_group(seed: int, key: int, draws: int) -> None:
    sizes = group_sizes(draws, 4)
    levels = stratified_levels(seed, key, sizes)
    assert levels.shape == (draws,) and (levels >= 0).all() and (levels < 1).all()
    start = 0
    for size in sizes:
        group = np.sort(levels[start : start + size])
        gaps = np.diff(np.concatenate([group, [group[0] + 1]]))
        assert np.allclose(gaps, 1 / size)
        start += size


@given(st.integers(1, 12), st.integers(0, 10**6))
def test_fixed_masks_hide_each_count_as_often(length: int, seed: int) -> None:
    """Over evenly spread levels every count from 1 to L comes up alike."""
    u_L = np.random.default_rng(seed).random(length)
    counts = Counter(len(fixed_mask((i + 0.5) / (4 * length), u_L)) for i in range(4 * length))
    assert counts == dict.fromkeys(range(1, length + 1), 4)
    masked = fixed_mask(0.5, u_L)
    assert (np.diff(masked) > 0).all() and u_L[masked].max() <= min(np.delete(u_L, masked), default=1.0)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_exact_weights_are_those_of_the_orders(length: int) -> None:
    """Walk all L! orders: at each step the masked set M scores one of its positions; its sum of CE weighs so."""
    weights: Counter[tuple[int, ...]] = Counter()
    for order in itertools.permutations(range(length)):
        for step in range(length):
            masked = tuple(sorted(order[step:]))
            weights[masked] += 1 / len(masked) / math.factorial(length)
    found = {tuple(look.masked.tolist()): look.weight for look in looks("exact", length, 0, 0, 0)}
    assert found == pytest.approx(weights)
    assert sum(len(masked) * weight for masked, weight in found.items()) == pytest.approx(length)


@pytest.mark.parametrize("method", ["mc-fixed", "mc-bernoulli"])
def test_monte_carlo_weights_average_to_the_exact_ones(method: str) -> None:
    """A mask's share of draws times its weight estimates its exact weight."""
    length, draws = 3, 40_000
    found: Counter[tuple[int, ...]] = Counter()
    for look in looks(method, length, draws, 5, 7):
        assert (look.masked == look.scored).all()
        found[tuple(look.masked.tolist())] += look.weight / draws
    exact = {tuple(look.masked.tolist()): look.weight for look in looks("exact", length, 0, 0, 0)}
    assert found.keys() == exact.keys()
    assert found == pytest.approx(exact, rel=0.08)


def test_chain_rule_goes_left_to_right() -> None:
    found = [(look.masked.tolist(), look.scored.tolist(), look.weight) for look in looks("chain-rule", 3, 0, 0, 0)]
    assert found == [([0, 1, 2], [0], 1.0), ([1, 2], [1], 1.0), ([2], [2], 1.0)]


def test_noise_depends_on_seed_key_and_draw_alone() -> None:
    def masks(seed: int, key: int) -> list[list[int]]:
        return [look.masked.tolist() for look in looks("mc-fixed", 6, 16, seed, key)]

    assert masks(1, 2) == masks(1, 2)
    assert masks(1, 2) != masks(2, 2) and masks(1, 2) != masks(1, 3)


def test_combine_is_the_mean_and_the_spread_of_group_means() -> None:
    values = np.array([1.0, 3.0, 2.0, 6.0])
    mean, se = combine(values, [2, 2])
    assert (mean, se) == (3.0, pytest.approx(math.sqrt(((2 - 3) ** 2 + (4 - 3) ** 2) / 2)))
    assert combine(values, [4]) == (3.0, 0.0)
    mean, se = combine(values, [1, 1, 1, 1])
    assert se == pytest.approx(values.std(ddof=1) / 2)


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"method 'mc-fixd' is unknown \(did you mean 'mc-fixed'"):
        check_method("mc-fixd")
    for draws in (1, 0, 2.5, True):
        with pytest.raises(UserError, match="draws is .*; give a whole number of at least 2"):
            check_draws(draws, 2)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"stops at L = {EXACT_LIMIT} tokens, here are {EXACT_LIMIT + 1}; use mc-fixed"):
        next(looks("exact", EXACT_LIMIT + 1, 0, 0, 0))
