"""Frontiers against values known by hand: gaps at equal entropy, intervals over words and templates, areas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.experiments.speed.frontier import Cell, area, compare, gap, gaps, lowest, word_draws


def cell(shift: float = 0.0, words: int = 40, noise: float = 0.0, raised: float = 0.0) -> Cell:
    """Six groups (2 seeds x 3 templates), 4 temperatures: log perplexity = entropy + shift, 20 tokens a text."""
    rng = np.random.default_rng(3)
    entropy = np.broadcast_to(np.linspace(2, 3, 4)[None, :, None] + raised, (6, 4, words)).copy()
    own = shift + noise * rng.normal(size=(6, 4, words))
    nats = 20 * (entropy + own)
    return Cell(nats, np.full_like(nats, 20), entropy, ["a", "b", "c"] * 2, [0, 0, 0, 1, 1, 1])


def test_a_gap_is_taken_at_equal_entropy() -> None:
    first = (np.array([1.0, 2.0]), np.array([5.0, 6.0]))
    assert gap(first, (np.array([2.0, 1.0]), np.array([5.5, 4.5]))) == pytest.approx((0.5, 0.0)), "in any order"
    # The same line, other temperatures: no gap, however far the points lie apart.
    assert gap(first, (np.array([1.4, 2.6]), np.array([5.4, 6.6])))[0] == pytest.approx(0)
    # One line crosses the other in the middle.
    assert gap(first, (np.array([1.0, 2.0]), np.array([6.0, 5.0]))) == pytest.approx((0, 0.5), abs=0.02)
    assert all(map(math.isnan, gap(first, (np.array([2.0, 3.0]), np.array([1.0, 1.0])))))


def test_a_curve_that_turns_back_counts_where_it_is_lowest() -> None:
    x, y = np.array([1.0, 2.0, 1.2]), np.array([1.0, 2.0, 9.0])
    grid = np.array([1.0, 1.1, 1.5, 2.0])
    assert lowest(grid, x, y) == pytest.approx([1, 1.1, 1.5, 2]) and np.isinf(lowest(np.array([2.5]), x, y)).all()
    assert gap((x, y), (np.array([1.0, 2.0]), np.array([1.0, 2.0])))[0] == pytest.approx(0)


def test_lower_perplexity_at_lower_entropy_is_no_gain() -> None:
    arm, cooler = cell(), cell(raised=-0.4)
    assert cooler.curve()[1].mean() < arm.curve()[1].mean()
    assert np.allclose(gaps(cooler, arm)[:, 0], 0)


def test_the_interval_is_over_words_templates_and_seeds() -> None:
    arm, better = cell(), cell(shift=-0.2, noise=0.3)
    found = compare(better, arm)
    low, high = found["gap"]["low"], found["gap"]["high"]
    assert low < found["gap"]["estimate"] < high < 0 and found["gap"]["estimate"] == pytest.approx(-0.2, abs=0.06)
    assert found["gap"]["clusters"] == 40 and found["gap"]["n"] == 6 * 4 * 40
    assert found["over_templates"]["clusters"] == 3 and set(found["over_templates"]["each"]) == {"a", "b", "c"}
    assert found["over_seeds"]["clusters"] == 2 and found["share_below"] == 1
    assert found["over_templates"]["low"] < found["over_templates"]["estimate"] < found["over_templates"]["high"]


def test_without_common_entropies_there_is_no_gap() -> None:
    found = compare(cell(raised=5), cell())
    assert found["gap"] is None and "in common" in found["why"]
    arm, some, few = cell(), cell(shift=0.3), cell(shift=0.3)
    some.entropy[:2] += 5  # two groups of six lie apart
    few.entropy[:3] += 5
    assert compare(few, arm)["gap"] is None
    found = compare(some, arm)
    assert found["groups"] == [4, 6] and found["gap"]["estimate"] == pytest.approx(0.3)
    assert found["over_templates"]["each"]["c"] == pytest.approx(0.3) and found["gap"]["n"] == 4 * 4 * 40


def test_words_are_drawn_with_replacement() -> None:
    draws = word_draws(12, 50)
    assert draws.shape == (50, 12) and (draws.sum(axis=1) == 12).all() and (word_draws(12, 50) == draws).all()


def test_area_is_the_mean_quality_over_tokens_per_pass() -> None:
    assert area([(16.0, 0.0)], 16) == pytest.approx(1), "the ARM's quality at 16 tokens a pass"
    assert area([(4.0, 0.0)], 16) == pytest.approx(0.5), "and none beyond four"
    assert area([(4.0, 0.0), (16.0, math.log(2))], 16) == pytest.approx(0.75)
    assert area([(4.0, math.log(4)), (16.0, math.log(2))], 16) == pytest.approx(0.5), "the better one is faster too"
    assert area([], 16) == area([(4.0, math.nan)], 16) == 0
