"""Masks, levels and weights: what makes the estimators unbiased, whatever the model."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.method import combine
from unmask.likelihood.methods.exact import EXACT_LIMIT
from unmask.likelihood.methods.order_mixture import combine_mixture
from unmask.likelihood.queries import (
    MAX_GROUPS,
    Query,
    check_draws,
    fixed_mask,
    group_sizes,
    stratified_levels,
)


def looks(method: str, length: int, draws: int, seed: int, key: int, order: str = "left-to-right") -> list[Query]:
    return list(looks_of(Estimator(method, draws or None, order), length, seed, key))


def looks_of(estimator: Estimator, length: int, *rest: Any) -> Iterator[Query]:
    """Of a text without a context, so that positions are places among what is asked for."""
    everything = np.arange(length)
    return estimator.queries(Query(everything, everything, everything), *rest)


@given(st.integers(1, 2000), st.integers(1, 8))
def test_groups_share_the_draws(draws: int, smallest: int) -> None:
    sizes = group_sizes(draws, smallest)
    assert sum(sizes) == draws and max(sizes) - min(sizes) <= 1
    assert len(sizes) <= MAX_GROUPS
    assert len(sizes) >= 2 or draws == 1
    assert min(sizes) >= smallest or len(sizes) == min(2, draws)


@given(st.integers(0, 2**63), st.integers(0, 2**64 - 1), st.integers(1, 300), st.integers(0, 20))
def test_levels_are_stratified_within_every_group(seed: int, key: int, size: int, group: int) -> None:
    levels = np.sort(stratified_levels(seed, key, size, group))
    assert levels.shape == (size,) and (levels >= 0).all() and (levels < 1).all()
    assert np.allclose(np.diff(np.concatenate([levels, [levels[0] + 1]])), 1 / size)


@given(st.integers(1, 70), st.integers(2, 300), st.integers(0, 10**6))
@example(40, 2, 0)
def test_an_order_meets_every_count_evenly_and_every_token_once(length: int, draws: int, seed: int) -> None:
    estimator = Estimator("mc-fixed", draws)
    stride, orders = estimator.stride(length, draws), len(estimator.groups(length, draws))
    passes = looks("mc-fixed", length, draws, seed, 3)
    assert len(passes) <= draws and orders >= max(2, min(8, (draws - 1) // 8))
    assert 1 <= stride <= length
    if stride > 1 and draws > 2:
        baseline = passes.pop(0)
        assert baseline.is_baseline and len(baseline.masked) == len(baseline.scored) == length
    for order in range(orders):
        steps = [look for look in passes if look.draw == order]
        assert [len(look.masked) for look in steps] == list(range(len(steps[0].masked), 0, -stride))
        assert 0 <= length - len(steps[0].masked) < stride
        asked = [token for look in steps for token in look.scored.tolist()]
        assert sorted(asked) == steps[0].masked.tolist()
        for look, after in zip(steps, steps[1:], strict=False):
            assert set(look.masked) - set(look.scored) == set(after.masked)
        assert all(look.weight * len(look.scored) == pytest.approx(stride) for look in steps)
        assert not any(look.is_baseline for look in steps)


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


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
def test_strides_average_to_the_exact_weights(stride: int) -> None:
    """Whatever the stride, each (mask, token) pair is asked for with its exact weight on average."""
    length, orders = 5, 20_000
    exact: Counter[tuple[tuple[int, ...], int]] = Counter()
    for look in looks("exact", length, 0, 0, 0):
        exact.update({(tuple(look.masked.tolist()), int(token)): look.weight for token in look.scored})
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for look in looks_of(Estimator("mc-fixed", 8), length, 5, 7, [1] * orders, stride):
        for token in look.scored:
            found[tuple(look.masked.tolist()), int(token)] += look.weight / orders
    assert found.keys() == exact.keys()
    z = [(found[x] - exact[x]) / math.sqrt(stride * exact[x] / orders) for x in exact]
    assert max(map(abs, z)) < 5 and np.std(z) < 1.3


@pytest.mark.parametrize("method", ["mc-fixed", "mc-bernoulli"])
def test_monte_carlo_weights_average_to_the_exact_ones(method: str) -> None:
    """A mask's share of draws times its weight estimates its exact weight."""
    length, draws = 3, 40_000
    found: Counter[tuple[int, ...]] = Counter()
    for look in looks(method, length, draws, 5, 7):
        if method == "mc-bernoulli":
            assert (look.masked == look.scored).all()
        count = draws if method == "mc-bernoulli" else len(Estimator(method, draws).groups(length, draws))
        found[tuple(look.masked.tolist())] += look.weight * len(look.scored) / len(look.masked) / count
    exact = {tuple(look.masked.tolist()): look.weight for look in looks("exact", length, 0, 0, 0)}
    assert found.keys() == exact.keys()
    assert found == pytest.approx(exact, rel=0.08)


def test_chain_rule_goes_left_to_right() -> None:
    found = [(look.masked.tolist(), look.scored.tolist(), look.weight) for look in looks("chain-rule", 3, 0, 0, 0)]
    assert found == [([0, 1, 2], [0], 1.0), ([1, 2], [1], 1.0), ([2], [2], 1.0)]
    back = [(look.masked.tolist(), look.scored.tolist()) for look in looks("chain-rule", 3, 0, 0, 0, "right-to-left")]
    assert back == [([0, 1, 2], [2]), ([0, 1], [1]), ([0], [0])]


@pytest.mark.parametrize("method", ["chain-rule", "order-mixture"])
def test_random_orders_are_all_orders_alike(method: str) -> None:
    order = "random" if method == "chain-rule" else "left-to-right"
    found = Counter[tuple[int, ...]]()
    steps = looks(method, 3, 3000, 1, 2, order)
    assert len(steps) == 9000
    for draw in range(3000):
        chain = steps[3 * draw : 3 * draw + 3]
        assert [look.draw for look in chain] == [draw] * 3 and [len(look.masked) for look in chain] == [3, 2, 1]
        walked = tuple(int(look.scored[0]) for look in chain)
        assert set(chain[1].masked) == set(walked[1:]) and set(chain[2].masked) == set(walked[2:])
        found[walked] += 1
    assert len(found) == 6
    assert sum((n - 500) ** 2 for n in found.values()) / 500 < 20


@pytest.mark.parametrize("method", ["mc-fixed", "mc-bernoulli", "order-mixture"])
def test_more_groups_go_on_where_the_first_ended(method: str) -> None:
    estimator = Estimator(method, 24)
    size = 8 if method == "mc-bernoulli" else 1
    whole = looks_of(estimator, 5, 3, 4, [size] * 3, 2)
    parts = [*looks_of(estimator, 5, 3, 4, [size], 2), *looks_of(estimator, 5, 3, 4, [size] * 2, 2, 1, size)]
    for a, b in zip(whole, parts, strict=True):
        assert (a.draw, a.weight, a.masked.tolist()) == (b.draw, b.weight, b.masked.tolist())


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


def test_a_mixture_of_orders_lies_below_their_mean() -> None:
    nats = np.array([3.0, 4.0, 700.0])
    mixture, se = combine_mixture(nats)
    assert mixture == pytest.approx(-math.log((math.exp(-3) + math.exp(-4)) / 3)) and mixture < nats.mean()
    p = np.exp(-nats)
    assert se == pytest.approx(p.std(ddof=1) / math.sqrt(3) / p.mean())


def test_what_each_method_targets() -> None:
    targets = {
        ("mc-fixed", "left-to-right"): ("nelbo", True, 128),
        ("mc-bernoulli", "left-to-right"): ("nelbo", True, 128),
        ("exact", "left-to-right"): ("nelbo", True, 0),
        ("chain-rule", "left-to-right"): ("chain", False, 0),
        ("chain-rule", "right-to-left"): ("chain", False, 0),
        ("chain-rule", "random"): ("nelbo", True, 8),
        ("order-mixture", "left-to-right"): ("order-mixture", True, 8),
    }
    for (method, order), expected in targets.items():
        estimator = Estimator(method, order=order)
        assert (estimator.target, estimator.is_bound, estimator.draws) == expected


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"method 'mc-fixd' is unknown \(did you mean 'mc-fixed'"):
        Estimator("mc-fixd")
    with pytest.raises(UserError, match=r"order 'randon' is unknown \(did you mean 'random'"):
        Estimator("chain-rule", order="randon")
    with pytest.raises(UserError, match="order 'random' does not concern method mc-fixed"):
        Estimator(order="random")
    for draws in (1, 0, 2.5, True):
        with pytest.raises(UserError, match="draws is .*; give a whole number of at least 2"):
            check_draws(draws, 2)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"stops at L = {EXACT_LIMIT} tokens, here are {EXACT_LIMIT + 1}; use mc-fixed"):
        looks("exact", EXACT_LIMIT + 1, 0, 0, 0)
