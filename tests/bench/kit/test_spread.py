"""Medians with quartiles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unmask.bench.kit.spread import spread


def test_of_three_rounds() -> None:
    assert spread(np.array([3.0, 1.0, 2.0])) == {"median": 2.0, "q1": 1.5, "q3": 2.5, "rounds": [3.0, 1.0, 2.0]}


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9))
def test_quartiles_hold_the_median_and_lie_within_the_rounds(rounds: list[float]) -> None:
    found = spread(np.array(rounds))
    order = [min(rounds), found["q1"], found["median"], found["q3"], max(rounds)]
    assert all(low <= high * (1 + 1e-12) for low, high in zip(order, order[1:], strict=False))
    assert found["rounds"] == rounds
