"""Schedules: ends, monotony, derivative against differences, inverse."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.diffusion.schedule import SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name: str) -> None:
    schedule = SCHEDULES[name]
    t = np.linspace(0.01, 1, 200)
    p = schedule.mask_probability(t)
    assert schedule.mask_probability(np.array([0.0, 1.0])) == pytest.approx([0, 1])
    assert (np.diff(p) > 0).all()
    slope = (schedule.mask_probability(t + 1e-6) - schedule.mask_probability(t - 1e-6)) / 2e-6
    assert schedule.derivative(t) == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert schedule.inverse(p) == pytest.approx(t)
    assert schedule.weight(t) == pytest.approx(slope / p, rel=1e-4)
