"""Frontiers against values known by hand: gaps at equal entropy, intervals over words and templates, areas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.experiments.speed.frontier import (
    Cell,
    Window,
    area,
    compare,
    difference,
    gap,
    group_draws,
    headline,
    lowest,
    measured,
    word_draws,
)

WINDOW = Window(2.2, 2.5, 2.8)


def cell(shift: float = 0.0, words: int = 40, noise: float = 0.0, raised: float = 0.0) -> Cell:
    """Six groups (2 seeds x 3 templates), 4 temperatures: log perplexity = entropy + shift, 20 tokens a text."""
    rng = np.random.default_rng(3)
    entropy = np.broadcast_to(np.linspace(2, 3, 4)[None, :, None] + raised, (6, 4, words)).copy()
    own = shift + noise * rng.normal(size=(6, 4, words))
    nats = 20 * (entropy + own)
    return Cell(nats, np.full_like(nats, 20), entropy, ["a", "b", "c"] * 2, [0, 0, 0, 1, 1, 1])


def test_a_gap_is_taken_at_equal_entropy() -> None:
    first, grid = (np.array([1.0, 2.0]), np.array([5.0, 6.0])), np.linspace(1, 2, 9)
    turned = (np.array([2.0, 1.0]), np.array([5.5, 4.5]))
    assert gap(difference(grid, first, turned)) == pytest.approx(0.5), "in any order"
    # The same line, other temperatures: no gap, however far the points lie apart.
    apart = difference(grid, first, (np.array([1.3, 2.6]), np.array([5.3, 6.6])))
    assert gap(apart) == pytest.approx(0) and np.isnan(apart[:3]).all(), "where both reach"
    assert math.isnan(gap(difference(grid, first, (np.array([1.6, 3.0]), np.array([1.0, 1.0]))))), "under two thirds"
    # One line crosses the other in the middle.
    crossing = difference(grid, first, (np.array([1.0, 2.0]), np.array([6.0, 5.0])))
    assert gap(crossing) == pytest.approx(0) and (crossing < 0).mean() == pytest.approx(0.5, abs=0.06)


def test_a_curve_that_turns_back_counts_where_it_is_lowest() -> None:
    x, y = np.array([1.0, 2.0, 1.2]), np.array([1.0, 2.0, 9.0])
    grid = np.array([1.0, 1.1, 1.5, 2.0])
    assert lowest(grid, x, y) == pytest.approx([1, 1.1, 1.5, 2]) and np.isinf(lowest(np.array([2.5]), x, y)).all()
    still = (np.array([1.0, 1.0, 2.0]), np.array([3.0, 2.0, 2.0]))  # entropy that does not move with temperature
    assert lowest(grid, *still) == pytest.approx([2, 2, 2, 2])


def test_the_arms_frontier_is_the_lowest_of_its_curves() -> None:
    two = np.array([[1.0, 2.0], [1.5, 2.5]]), np.array([[1.0, 2.0], [1.0, 2.0]])
    assert lowest(np.array([1.2, 1.6, 2.2]), *two) == pytest.approx([1.2, 1.1, 1.7])
    worse = compare(cell(), [cell(shift=0.3), cell(shift=-0.2)], WINDOW)
    assert worse["gap"]["estimate"] == pytest.approx(0.2), "not the mean over its settings"


def test_lower_perplexity_at_lower_entropy_is_no_gain() -> None:
    arm, cooler = cell(), cell(raised=-0.2)
    assert cooler.curve()[1].mean() < arm.curve()[1].mean()
    assert np.allclose(measured(cooler, [arm], WINDOW)[:, :4], 0)


def test_settings_of_different_entropies_are_compared_over_the_same_window() -> None:
    """Two that are equally good where both write: their means over what each shares with the ARM part by far."""

    def bent(raised: float) -> Cell:
        one = cell(raised=raised)
        one.nats[:] = 20 * (one.entropy + 0.5 * (one.entropy - 2) ** 2)
        return one

    hot, cold = (compare(bent(raised), [cell()], WINDOW) for raised in (0.15, -0.15))
    assert hot["gap"]["estimate"] == pytest.approx(cold["gap"]["estimate"], abs=0.05)
    assert hot["gap_common"]["estimate"] > cold["gap_common"]["estimate"] + 0.05
    assert hot["entropies"] == pytest.approx([2.15, 3]) and hot["share_of_arm"] == pytest.approx(0.85)
    assert hot["gap_at_reference"]["estimate"] == pytest.approx(0.125, abs=0.03)


def test_the_interval_is_over_words_templates_and_seeds() -> None:
    arm, better = cell(), cell(shift=-0.2, noise=0.3)
    found = compare(better, [arm], WINDOW)
    low, high = found["gap"]["low"], found["gap"]["high"]
    assert low < found["gap"]["estimate"] < high < 0 and found["gap"]["estimate"] == pytest.approx(-0.2, abs=0.06)
    assert found["gap_per_text"]["estimate"] == pytest.approx(20 * found["gap"]["estimate"], rel=1e-6)
    assert found["gap"]["clusters"] == 40 and found["gap"]["n"] == 6 * 4 * 40
    assert found["over_templates"]["clusters"] == 3 and set(found["over_templates"]["each"]) == {"a", "b", "c"}
    assert found["over_seeds"]["clusters"] == 2 and found["share_below"] == 1
    assert found["over_templates"]["low"] < found["over_templates"]["estimate"] < found["over_templates"]["high"]
    parted = cell()
    parted.nats[[0, 3]] -= 20  # one template alone is better
    wide = compare(parted, [arm], WINDOW)["gap"]
    assert wide["low"] == pytest.approx(-1, abs=0.01) and wide["high"] == pytest.approx(0, abs=0.01)


def test_where_a_group_does_not_reach_the_window_there_is_no_gap() -> None:
    found = compare(cell(raised=5), [cell()], WINDOW)
    assert found["gap"] is None and found["gap_common"] is None and "reaches 0% of the window" in found["why"]
    arm, some = cell(), cell(shift=0.3)
    some.entropy[0] += 0.5  # one group of six
    found = compare(some, [arm], WINDOW)
    assert found["gap"] is None and found["window_reached"] == pytest.approx(0.5, abs=0.02)
    assert found["gap_common"] is not None, "as a further figure"


def test_an_interval_holds_its_estimate_or_there_is_none() -> None:
    found = headline(1.0, np.array([2.0, 3.0]), 5, 5)
    assert found == {"estimate": 1.0, "low": 1.0, "high": 2.975, "n": 5, "clusters": 5}
    assert headline(1.0, np.array([math.nan]), 5, 5) is None and headline(math.nan, np.array([1.0]), 5, 5) is None


def test_groups_are_drawn_by_seed_and_by_template() -> None:
    draws = group_draws(cell(), 50)
    assert draws.shape == (50, 6) and (draws.sum(axis=1) == 6).all()


def test_words_are_drawn_with_replacement() -> None:
    draws = word_draws(12, 50)
    assert draws.shape == (50, 12) and (draws.sum(axis=1) == 12).all() and (word_draws(12, 50) == draws).all()


def test_area_is_the_mean_quality_over_tokens_per_pass() -> None:
    assert area([(16.0, 0.0)], 16) == pytest.approx(1), "the ARM's quality at 16 tokens a pass"
    assert area([(4.0, 0.0)], 16) == pytest.approx(0.5), "and none beyond four"
    assert area([(4.0, 0.0), (16.0, math.log(2))], 16) == pytest.approx(0.75)
    assert area([(4.0, math.log(4)), (16.0, math.log(2))], 16) == pytest.approx(0.5), "the better one is faster too"
    assert area([], 16) == area([(4.0, math.nan)], 16) == 0
