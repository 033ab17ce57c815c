"""Intervals over clusters and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.pretending import FIGURE
from unmask.experiments.estimates import clustered, ends, in_words, paired


def test_interval_covers_a_mean_of_clusters_and_is_wider_than_that_of_items() -> None:
    random = np.random.default_rng(0)
    covered, narrow = 0, 0
    clusters = np.repeat(np.arange(40), 10)
    for trial in range(100):
        people = random.beta(2, 2, size=40)
        values = (random.random(400) < people[clusters]).astype(float)
        found = clustered(values, clusters, draws=300, seed=trial)
        covered += found["low"] <= 0.5 <= found["high"]
        items = clustered(values, np.arange(400), draws=300, seed=trial)
        narrow += items["high"] - items["low"] < found["high"] - found["low"]
    assert covered >= 88 and narrow == 100


def test_shares_of_none_and_of_all_have_a_bound_by_the_clusters() -> None:
    none = clustered(np.zeros((3, 300)), np.repeat(np.arange(30), 10))
    assert none["estimate"] == none["low"] == 0 and none["high"] == pytest.approx(1 - 0.025 ** (1 / 30))
    assert (none["n"], none["clusters"], none["seeds"]) == (900, 30, 3)
    assert clustered(np.ones(5), range(5))["low"] == pytest.approx(0.025 ** (1 / 5))


def test_pairs_seeds_and_weights() -> None:
    ours, theirs = np.array([[1, 1, 0, 1], [1, 0, 1, 1.0]]), np.array([[0, 1, 0, 1], [0, 0, 1, 1.0]])
    found = paired(ours, theirs, "abcd")
    assert found["estimate"] == 0.25 and found["low"] <= 0.25 <= found["high"] and found["clusters"] == 4
    same = paired(ours, ours, "abcd")
    assert same["low"] == same["high"] == 0
    assert clustered([1, 0], "ab", weights=[3, 1])["estimate"] == 0.75
    wide = clustered([[0.0] * 50, [1.0] * 50], range(50))  # all of the spread is between the seeds
    assert wide["low"] == 0 and wide["high"] == 1
    with pytest.raises(ValueError, match="finite"):
        clustered([np.nan], "a")
    assert in_words(FIGURE) == "50% [25, 75]" and in_words(FIGURE, percent=False) == "0.500 [0.250, 0.750]"
    assert ends(FIGURE) == "+0.500 [+0.250, +0.750]" and ends(FIGURE, ".1f", 100) == "50.0 [25.0, 75.0]"
    assert ends({"estimate": 0.5, "low": None, "high": None}, ".2f") == "0.50"
