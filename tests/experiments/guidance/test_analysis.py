"""Choosing on one half of the items and testing on the other."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.experiments.guidance.analysis import gains
from unmask.experiments.guidance.scores import (
    BLIND,
    ONCE,
    TWICE,
    columns,
    pmi_name,
    scale_name,
)

SCALES = [-0.2, 0.5, 1.0]


def table(rights: dict[str, float], n: int, seed: int) -> np.ndarray:
    """Made credits: each column right at its own rate, the same items hard in all."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    return np.stack([(hard < rights.get(name, 0.3)).astype(float) for name in columns(SCALES)], axis=1)


def test_the_scale_is_chosen_on_other_items_and_compared_with_twice_the_draws() -> None:
    tune = [table({scale_name(0.5): 0.6, TWICE: 0.5, ONCE: 0.45, pmi_name(0.5): 0.55}, 400, s) for s in range(3)]
    # On the test items another scale would be better, and is not taken.
    rights = {scale_name(0.5): 0.6, scale_name(1.0): 0.9, TWICE: 0.5, ONCE: 0.45, pmi_name(0.5): 0.55, BLIND: 0.25}
    test = [table(rights, 600, 10 + s) for s in range(3)]
    found = gains(tune, test, [str(i) for i in range(600)], SCALES)
    assert found["chosen"]["guidance"] == [scale_name(0.5)] * 3 and found["chosen"]["pmi"] == [pmi_name(0.5)] * 3
    assert found["gain"]["estimate"] == pytest.approx(0.1, abs=0.03) and found["gain"]["low"] > 0
    assert found["guided_less_pmi"]["estimate"] == pytest.approx(0.05, abs=0.02)
    assert found["accuracy"]["unguided"]["estimate"] == pytest.approx(0.5, abs=0.03) and found["in_range"]
    assert found["curve"][scale_name(1.0)]["estimate"] == pytest.approx(0.9, abs=0.03)
    assert found["gain"]["n"] == 1800 and found["gain"]["clusters"] == 600


def test_where_no_guidance_is_chosen_nothing_is_gained() -> None:
    tune = [table({ONCE: 0.7}, 200, 0)]
    found = gains(tune, [table({ONCE: 0.5, TWICE: 0.6}, 200, 1)], [str(i) for i in range(200)], SCALES)
    assert found["chosen"]["guidance"] == [ONCE] and found["gain"]["estimate"] == found["gain"]["high"] == 0
    tie = [table(dict.fromkeys(columns(SCALES), 0.5), 200, 0)]
    assert gains(tie, tie, [str(i) for i in range(200)], SCALES)["chosen"]["guidance"] == [ONCE]
