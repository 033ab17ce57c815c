"""Choosing on one half of the items and testing on the other; chance; one way against another."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.experiments.guidance.analysis import Gains, compare, gains
from unmask.experiments.guidance.scores import (
    BLIND,
    ONCE,
    TWICE,
    columns,
    pmi_name,
    scale_name,
)

SCALES = [-0.2, 0.5, 1.0]
CHANCE = 0.25


def table(rights: dict[str, float], n: int, seed: int) -> np.ndarray:
    """Made credits: each column right at its own rate, the same items hard in all."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    return np.stack([(hard < rights.get(name, 0.3)).astype(float) for name in columns(SCALES)], axis=1)


def apart(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def test_the_scale_is_chosen_on_other_items_and_compared_with_twice_the_draws() -> None:
    tune = [table({scale_name(0.5): 0.6, TWICE: 0.5, ONCE: 0.45, pmi_name(0.5): 0.55}, 400, s) for s in range(3)]
    # On the test items another scale would be better, and is not taken.
    rights = {scale_name(0.5): 0.6, scale_name(1.0): 0.9, TWICE: 0.5, ONCE: 0.45, pmi_name(0.5): 0.55, BLIND: 0.25}
    test = [table(rights, 600, 10 + s) for s in range(3)]
    found = gains(tune, test, apart(600), SCALES, CHANCE).figures
    assert found["chosen"]["guidance"] == [scale_name(0.5)] * 3 and found["chosen"]["pmi"] == [pmi_name(0.5)] * 3
    assert found["chosen"]["at_an_end"] == [False] * 3
    assert found["gain"]["estimate"] == pytest.approx(0.1, abs=0.03) and found["gain"]["low"] > 0
    assert found["guided_less_pmi"]["estimate"] == pytest.approx(0.05, abs=0.02)
    assert found["accuracy"]["unguided"]["estimate"] == pytest.approx(0.5, abs=0.03) and found["in_range"]
    assert found["curve"][scale_name(1.0)]["estimate"] == pytest.approx(0.9, abs=0.03)
    assert found["gain"]["n"] == 1800 and found["gain"]["clusters"] == 600


def test_where_no_guidance_is_chosen_nothing_is_gained() -> None:
    # On the tuning items too no guidance has twice the draws: with half of them it would have lost.
    tune = [table({TWICE: 0.7, ONCE: 0.5, scale_name(0.5): 0.6, pmi_name(0.5): 0.6}, 200, 0)]
    found = gains(tune, [table({ONCE: 0.5, TWICE: 0.6}, 200, 1)], apart(200), SCALES, CHANCE).figures
    assert found["chosen"]["guidance"] == found["chosen"]["pmi"] == [TWICE]
    assert found["gain"]["estimate"] == found["gain"]["high"] == 0
    tie = [table(dict.fromkeys(columns(SCALES), 0.5), 200, 0)]
    assert gains(tie, tie, apart(200), SCALES, CHANCE).figures["chosen"]["guidance"] == [TWICE]


def test_a_task_at_chance_is_not_in_range() -> None:
    blind = [table({TWICE: 0.5, ONCE: 0.5}, 300, 0)]
    of_two = gains(blind, blind, apart(300), SCALES, chance=0.5).figures
    assert of_two["at_chance"] and not of_two["in_range"] and of_two["chance"] == 0.5
    of_four = gains(blind, blind, apart(300), SCALES, chance=0.25).figures
    assert of_four["in_range"] and not of_four["at_chance"]
    easy = [table({TWICE: 0.95}, 300, 0)]
    assert not gains(easy, easy, apart(300), SCALES, 0.5).figures["in_range"]


def test_the_largest_scale_and_the_smallest_are_ends_of_the_grid() -> None:
    for name in (scale_name(1.0), scale_name(-0.2)):
        one = [table({name: 0.8}, 100, 0)]
        assert gains(one, one, apart(100), SCALES, CHANCE).figures["chosen"]["at_an_end"] == [True]


def test_gains_are_compared_item_by_item() -> None:
    rng = np.random.default_rng(0)
    noise_SN = rng.normal(0, 1, (3, 200))  # what is the same for both does not count
    ways = {
        "unsupervised": Gains({}, noise_SN + 0.1),
        "standard": Gains({}, noise_SN + 0.3),
        "arm": Gains({}, noise_SN + 0.1),
        "zero_shot": Gains({}, noise_SN[:1]),
    }
    compare(ways, apart(200))
    found = ways["unsupervised"].figures
    assert found["gain_less_standard"]["estimate"] == pytest.approx(-0.2)
    assert found["gain_less_standard"]["high"] == pytest.approx(-0.2)
    assert found["gain_less_arm"]["estimate"] == pytest.approx(0) and found["gain_less_arm"]["n"] == 600
    assert ways["standard"].figures == {} and ways["zero_shot"].figures == {}
    ways["arm_zero_shot"] = Gains({}, noise_SN)  # one base of one kind, three of the other
    compare(ways, apart(200))
    assert ways["zero_shot"].figures["gain_less_arm"]["seeds"] == 3
