"""The mean probability of several orders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.likelihood.methods.order_mixture import METHOD


def test_it_is_the_mean_probability() -> None:
    nats = -np.log(np.array([0.5, 0.1, 0.3]))
    found, se = METHOD.estimate(nats, [1, 1, 1])
    assert found == pytest.approx(-math.log(0.3)) and se == pytest.approx(0.2 / 0.3 / math.sqrt(3))
