"""The paper's optima and the lines through them, against the refit in the project's facts and against numpy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.scaling.published import PowerLine, paper_line, paper_minima


def test_the_papers_lines_are_those_of_its_refit():
    assert paper_line("arm", "params").exponent == pytest.approx(0.642, abs=5e-4)
    assert paper_line("mdm", "params").exponent == pytest.approx(0.630, abs=5e-4)
    assert paper_line("arm", "loss").exponent == pytest.approx(-0.0642, abs=5e-5)
    assert paper_line("mdm", "loss").exponent == pytest.approx(-0.0625, abs=5e-5)
    assert paper_line("arm", "params").at(1.0)[0] == pytest.approx(1.38e-4, rel=3e-3)
    assert paper_line("mdm", "params").at(1.0)[0] == pytest.approx(1.21e-4, rel=3e-3)


def test_tokens_and_size_of_the_paper_make_its_budgets():
    for name in ("arm", "mdm"):
        minima = paper_minima(name)
        assert 6 * np.array(minima["params"]) * np.array(minima["tokens"]) == pytest.approx(minima["flops"])
        shares = [paper_line(name, which).exponent for which in ("params", "tokens")]
        assert sum(shares) == pytest.approx(1)


def test_line_and_band_are_those_of_ordinary_least_squares():
    rng = np.random.default_rng(0)
    x, slope = np.geomspace(1e18, 1e20, 5), 0.6
    y = 3e-4 * x**slope * np.exp(rng.normal(0, 0.05, 5))
    line = PowerLine.through(x.tolist(), y.tolist())
    design = np.stack([np.ones(5), np.log(x)], axis=1)
    found, rest, *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    assert line.exponent == pytest.approx(found[1])
    assert math.log(line.at(1.0)[0]) == pytest.approx(found[0])
    at = np.array([1.0, math.log(1e22)])
    error = math.sqrt(float(rest[0]) / 3 * at @ np.linalg.inv(design.T @ design) @ at)
    estimate, low, high = line.at(1e22)
    assert math.log(estimate) == pytest.approx(at @ found)
    assert math.log(high / estimate) == pytest.approx(3.182446 * error, rel=1e-5)  # t(3) at 97.5%
    assert low * high == pytest.approx(estimate**2)


@given(st.floats(0.05, 2), st.booleans(), st.integers(0, 1000), st.floats(0.2, 3))
def test_inverse_is_where_the_band_holds_the_value(slope, falling, seed, away):
    x = np.geomspace(1, 100, 6)
    slope = -slope if falling else slope
    y = x**slope * np.exp(np.random.default_rng(seed).normal(0, 0.002, 6))
    line = PowerLine.through(x.tolist(), y.tolist())
    goal = line.at(math.exp(away))[0]
    estimate, low, high = line.inverse(goal)
    assert math.log(estimate) == pytest.approx(away, abs=1e-9)
    if low is not None:
        edges = sorted(
            [min(line.at(low)[1:], key=lambda e: abs(e - goal)), min(line.at(high)[1:], key=lambda e: abs(e - goal))]
        )
        assert edges == pytest.approx([goal, goal], rel=1e-6)
        assert low <= estimate <= high


def test_two_points_have_no_interval_and_a_flat_line_no_ends():
    line = PowerLine.through([1.0, 10.0], [1.0, 2.0])
    assert line.at(5.0)[1:] == (None, None)
    assert line.inverse(1.5)[1:] == (None, None)
    rough = PowerLine.through([1.0, 10.0, 100.0], [1.0, 3.0, 1.1])
    assert rough.inverse(2.0)[1:] == (None, None)
