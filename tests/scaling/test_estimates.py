"""Numbers with their intervals: nothing infinite, and a reason where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.scaling.estimates import estimate, nothing, shown


@given(st.floats(), st.lists(st.floats(), max_size=40))
def test_any_numbers_become_json_with_ends_in_order_or_a_reason(value: float, draws: list[float]) -> None:
    found = estimate(value, draws)
    json.dumps(found, allow_nan=False)
    if found["estimate"] is None or found["low"] is None:
        assert found["why"] and found["low"] is found["high"] is None
    else:
        assert found["low"] <= found["high"] and "why" not in found


def test_an_interval_holds_95_percent_of_the_draws_that_give_a_number() -> None:
    draws_S = np.arange(1001.0)
    found = estimate(500, draws_S)
    assert (found["low"], found["high"]) == pytest.approx((25, 975))
    draws_S[:90] = np.nan
    assert estimate(500, draws_S)["low"] is not None
    draws_S[:110] = np.inf
    assert "11% of the resamples give no number" in estimate(500, draws_S)["why"]
    assert "no resamples" in estimate(500)["why"]


def test_numbers_for_people() -> None:
    assert shown(estimate(0.5354, [0.51, 0.51])) == "0.535 [0.510, 0.510]"
    assert shown(estimate(1234.56)) == "1234.6" and shown(estimate(3.2e7)) == "3.2e+07"
    assert shown(nothing("one objective")) == shown(None) == "–"
