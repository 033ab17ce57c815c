"""Frontiers of a law: closed form, search with exact costs, published fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.scaling.cost import Cost
from unmask.scaling.law import Law

SIX = Cost((0.0, 100.0), (float(np.log(6)), 100.0 + float(np.log(6))))  # 6 N, by the search
laws = st.builds(
    Law, st.floats(0.5, 3), st.floats(10, 1e4), st.floats(10, 1e4), st.floats(0.1, 0.9), st.floats(0.1, 0.9)
)

# arXiv 2512.10858 (gidd-easydel): L = E + a / M^alpha + b / D^beta with M FLOPs a token and C = M D
GIDD = {
    "masked": (2.17, 222, 1.92e3, 0.292, 0.367, 0.557, 2.812),
    "low-uniform": (2.25, 477, 1.88e3, 0.335, 0.365, 0.521, 2.840),
    "balanced": (2.27, 626, 1.52e3, 0.350, 0.353, 0.502, 2.865),
    "high-uniform": (2.21, 303, 1.5e3, 0.307, 0.352, 0.534, 2.879),
    "uniform": (2.19, 294, 1.34e3, 0.305, 0.346, 0.531, 2.874),
}


@pytest.mark.parametrize("name", GIDD)
def test_five_printed_fits_of_gidd(name: str) -> None:
    *fields, exponent, loss = GIDD[name]
    law = Law(*fields)
    assert law.n_exponent == pytest.approx(exponent, abs=6e-4)
    assert law.optimum(6e20, Cost()).loss[0] == pytest.approx(loss, abs=1.5e-3)  # M D = 1e20


def test_quokkas_compute_optimum() -> None:
    law = Law(2.413, 798.6, 4604.9, 0.379, 0.378)
    best = law.optimum(1e21, Cost())
    assert best.params[0] * best.tokens[0] == pytest.approx(1e21 / 6)
    assert 0.49 < law.n_exponent < 0.51


@settings(max_examples=30, deadline=None)
@given(laws, st.floats(15, 25))
def test_the_search_finds_what_the_closed_form_says(law: Law, log_flops: float) -> None:
    flops = 10.0**log_flops
    closed, searched = law.optimum(flops, Cost()), law.optimum(flops, SIX)
    if not 1e4 < closed.params[0] < 1e14:
        return
    assert searched.loss == pytest.approx(closed.loss, rel=1e-7)
    assert np.log(searched.params) == pytest.approx(np.log(closed.params), abs=2e-3)


@settings(max_examples=30, deadline=None)
@given(laws, st.floats(15, 24), st.booleans())
def test_the_compute_of_a_loss_is_the_way_back(law: Law, log_flops: float, searched: bool) -> None:
    cost = SIX if searched else Cost()
    best = law.optimum(10.0**log_flops, cost)
    if not 1e4 < best.params[0] < 1e13 or best.loss[0] - law.E < 1e-3:
        return
    assert np.log(law.flops_at(best.loss, cost)) == pytest.approx(np.log(10.0) * log_flops, rel=1e-4)


def test_no_compute_reaches_a_loss_below_e() -> None:
    law = Law(2.0, 100.0, 100.0, 0.3, 0.3)
    for cost in (Cost(), SIX):
        assert np.isnan(law.flops_at([1.9], cost)).all() and np.isfinite(law.flops_at([2.1], cost)).all()


def test_draws_come_before_budgets() -> None:
    draws = Law(*(np.array(pair) for pair in ((2.0, 2.1), (100.0, 90.0), (200.0, 210.0), (0.3, 0.31), (0.29, 0.3))))
    singles = [Law(*(float(getattr(draws, f)[i]) for f in ("E", "A", "B", "alpha", "beta"))) for i in range(2)]
    flops = np.array([1e15, 1e18, 1e20])
    for cost in (Cost(), SIX):
        best = draws.optimum(flops, cost)
        assert best.params.shape == best.loss.shape == (2, 3)
        for i, law in enumerate(singles):
            assert best.loss[i] == pytest.approx(law.optimum(flops, cost).loss)
        assert draws.flops_at(best.loss, cost) == pytest.approx(np.tile(flops, (2, 1)), rel=1e-3)
    assert draws.loss(np.array([1e6, 1e7]), np.array([1e8, 1e9])).shape == (2, 2)
