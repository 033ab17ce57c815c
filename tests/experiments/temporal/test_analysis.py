"""Differences at equal loss: on made losses whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.experiments.temporal.analysis import LEFT_OUT, Line, Points, Shift, beyond_control, compute_ratio, slope
from unmask.experiments.temporal.texts import IN_PERIOD

N_PERIOD, DECADES, EACH = 20, (1910, 1930, 1950), 12


def made(
    gain: float = 0.0, seeds: int = 2, noise: float = 0.0, spoken_gain: float = 0.0, ahead: float = 0.0
) -> Shift:
    """Documents whose loss grows with the years; the MDM has `gain` bits/byte less per decade, and `spoken_gain` less
    where they are spoken. ahead: how far its losses lie from the ARM's."""
    rng = np.random.default_rng(7)
    groups = [IN_PERIOD] * N_PERIOD + [f"{decade}s" for decade in DECADES for _ in range(EACH)]
    years = np.array([1900] * N_PERIOD + [decade for decade in DECADES for _ in range(EACH)])
    media = ["written"] * N_PERIOD + ["written", "spoken"] * (len(DECADES) * EACH // 2)
    n_bytes = rng.integers(2000, 4000, len(years)).astype(float)
    own = 0.2 * rng.standard_normal(len(years))
    spoken = np.array([medium == "spoken" for medium in media])

    def points(bases: np.ndarray, less: float, spoken_less: float) -> Points:
        later = (years - 1900) / 10
        bits = bases[:, None] * (1 + 0.05 * later) + own - less * later - spoken_less * spoken
        bits = bits + noise * rng.standard_normal(bits.shape)
        return Points(bits * n_bytes, 1e12 * np.exp(-4 * bases), n_bytes)

    arm, mdm = np.linspace(3.0, 1.8, 6), np.linspace(2.7, 2.1, 6) + ahead
    runs = [(points(mdm, gain, spoken_gain), points(arm, 0, 0)) for _ in range(seeds)]
    return Shift(groups, years.tolist(), media, [str(n) for n in range(len(years))], runs)


def test_without_a_difference_there_is_none() -> None:
    shift = made()
    found = shift.differences(draws=50)
    assert set(found) == {"1910s", "1930s", "1950s", "later", "later written", "later spoken"}
    for figure in found.values():
        assert figure["estimate"] == pytest.approx(0, abs=1e-9)
        assert figure["low"] == pytest.approx(0, abs=1e-6) and figure["high"] == pytest.approx(0, abs=1e-6)
    assert found["later"]["clusters"] == 36 and found["1930s"]["clusters"] == 12
    assert found["later"]["n"] == 72 and found["later spoken"]["n"] == 36


def test_a_gain_that_grows_with_the_years_is_found_by_decade_and_as_a_slope() -> None:
    shift = made(gain=0.02, noise=0.005)
    found = shift.differences(draws=200)
    for decade in DECADES:
        figure = found[f"{decade}s"]
        assert figure["estimate"] == pytest.approx(-0.02 * (decade - 1900) / 10, abs=0.01)
        assert figure["low"] < figure["estimate"] < figure["high"]
    slopes = shift.slopes(draws=200)
    assert slopes["later"]["estimate"] == pytest.approx(-0.02, abs=0.004)
    assert slopes["later written"]["estimate"] == pytest.approx(-0.02, abs=0.004)
    assert slopes["later written"]["low"] <= -0.02 <= slopes["later written"]["high"]


def test_a_change_of_medium_is_no_slope_within_a_medium() -> None:
    shift = made(spoken_gain=0.1)
    found = shift.differences(draws=100)
    assert found["later written"]["estimate"] == pytest.approx(0, abs=1e-6)
    assert found["later spoken"]["estimate"] == pytest.approx(-0.1, abs=1e-6)
    slopes = shift.slopes(draws=100)
    assert set(slopes) == {"later", "later written", "later spoken"}, "of the period all are of one year here"
    assert slopes["later written"]["estimate"] == pytest.approx(0, abs=1e-6)
    assert slopes["later spoken"]["estimate"] == pytest.approx(0, abs=1e-6)


def test_points_beyond_the_line_are_not_compared() -> None:
    shift = made(ahead=0.6)  # 3.3 to 2.7: half of them above the ARM's first point
    assert 0 < sum(int(at.sum()) for at in shift.usable()) < 12
    assert shift.differences(draws=20)["later"]["estimate"] == pytest.approx(0, abs=1e-9)
    far = made(ahead=5.0)
    assert not far.differences(draws=20) and not far.slopes(draws=20)
    assert compute_ratio(*far.runs[0], far.period_N) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Documents of their own scatter about a true gain of 0.05."""
    rng, hits = np.random.default_rng(1), 0
    for trial in range(60):
        n = 24
        groups = [IN_PERIOD] * n + ["1950s"] * n
        n_bytes = np.full(2 * n, 3000.0)
        own = 0.2 * rng.standard_normal(2 * n)
        later = np.arange(2 * n) >= n
        each = 0.1 * rng.standard_normal(2 * n)  # how the two models differ, document by document
        arm = Points((np.linspace(3, 1.8, 6)[:, None] + own) * n_bytes, np.ones(6), n_bytes)
        mdm = Points((np.linspace(2.6, 2.2, 3)[:, None] + own + each - 0.05 * later) * n_bytes, np.ones(3), n_bytes)
        # Their mean difference in the period is taken out by the equal loss, and counts into the error.
        shift = Shift(groups, [1950] * 2 * n, [""] * 2 * n, [str(i) for i in range(2 * n)], [(mdm, arm)])
        figure = shift.differences(draws=200, seed=trial)["1950s"]
        hits += figure["low"] <= -0.05 <= figure["high"]
    assert hits >= 50


def parts_of(n_clusters: int, parts: int, one_each: bool) -> Shift:
    """Documents that differ by their cluster alone: each cluster's parts say the same, as parts of one message do."""
    rng = np.random.default_rng(3)
    clusters = [f"p{i}" for i in range(20)] + [str(i) for i in range(n_clusters) for _ in range(parts)]
    groups = [IN_PERIOD] * 20 + ["1970s"] * (n_clusters * parts)
    each = np.concatenate([np.zeros(20), np.repeat(0.1 * rng.standard_normal(n_clusters), parts)])
    n_bytes = np.full(len(groups), 3000.0)
    arm = Points((np.linspace(3, 1.8, 6)[:, None] + 0 * each) * n_bytes, np.ones(6), n_bytes)
    mdm = Points((np.linspace(2.6, 2.2, 3)[:, None] + each) * n_bytes, np.ones(3), n_bytes)
    names = [str(i) for i in range(len(groups))] if one_each else clusters
    return Shift(groups, [1970] * len(groups), [""] * len(groups), names, [(mdm, arm)])


def test_parts_of_one_message_count_as_one() -> None:
    """Eleven parts of a message do not make its decade eleven times as sure."""
    whole, parts = parts_of(8, 1, False), parts_of(8, 11, False)
    width = [f["high"] - f["low"] for f in (s.differences(draws=1000)["1970s"] for s in (whole, parts))]
    assert width[1] == pytest.approx(width[0], rel=0.15)
    figure = parts.differences(draws=20)["1970s"]
    assert (figure["clusters"], figure["n"]) == (8, 88)
    apart = parts_of(8, 11, True).differences(draws=1000)["1970s"]
    assert apart["high"] - apart["low"] < 0.5 * width[1], "as it was when every file counted"


def test_clusters_are_drawn_whole_and_as_many_as_a_group_has() -> None:
    shift = parts_of(8, 11, False)
    rng, later = np.random.default_rng(0), shift.later_N
    for _ in range(20):
        weight_N = shift.again(rng)
        by_cluster = weight_N[later].reshape(8, 11)
        assert (by_cluster == by_cluster[:, :1]).all() and by_cluster[:, 0].sum() == 8
        assert weight_N[~later].sum() == 20


def test_the_written_slope_is_given_without_the_years_that_dominate_it() -> None:
    years = [*range(1879, 1900), *range(1920, 1972), *[1972] * 2, *[1973] * 11, *[1974] * 2]
    groups = [IN_PERIOD if year < 1913 else f"{year // 10 * 10}s" for year in years]
    n_bytes = np.full(len(years), 3000.0)
    off = np.array([-0.5 if 1972 <= year <= 1974 else 0.0 for year in years])
    arm = Points(np.linspace(3, 1.8, 6)[:, None] * n_bytes, np.ones(6), n_bytes)
    mdm = Points((np.linspace(2.6, 2.2, 3)[:, None] + off) * n_bytes, np.ones(3), n_bytes)
    slopes = Shift(groups, years, ["written"] * len(years), list(map(str, years)), [(mdm, arm)]).slopes(draws=20)
    assert slopes["later written"]["estimate"] < -0.005 and slopes[LEFT_OUT]["estimate"] == pytest.approx(0, abs=1e-9)
    assert slopes[LEFT_OUT]["n"] == 52 and slopes["later written"]["clusters"] == 55
    assert slopes[IN_PERIOD]["n"] == 21 and slopes[IN_PERIOD]["estimate"] == pytest.approx(0, abs=1e-9)


def of_years(years: list[int], off: list[float]) -> Shift:
    """Written documents, one cluster a year, of which the MDM has so much more."""
    groups = [IN_PERIOD if year < 1913 else f"{year // 10 * 10}s" for year in years]
    n_bytes = np.full(len(years), 3000.0)
    arm = Points(np.linspace(3, 1.8, 6)[:, None] * n_bytes, np.ones(6), n_bytes)
    mdm = Points((np.linspace(2.6, 2.2, 3)[:, None] + np.array(off)) * n_bytes, np.ones(3), n_bytes)
    return Shift(groups, years, ["written"] * len(years), list(map(str, years)), [(mdm, arm)])


def test_a_step_at_the_end_of_the_period_is_no_slope() -> None:
    years = [*range(1860, 1900), *range(1920, 1990)]
    shift = of_years(years, [0.0 if year < 1913 else -0.3 for year in years])
    assert shift.differences(draws=20)["later"]["estimate"] == pytest.approx(-0.3)
    slopes = shift.slopes(draws=20)
    assert set(slopes) >= {"later", IN_PERIOD} and all(abs(one["estimate"]) < 1e-9 for one in slopes.values())


def test_parts_of_a_year_count_once_in_a_slope() -> None:
    years = [*range(1880, 1900), 1920, 1930, *[1940] * 30, 1950, 1960, 1990]
    slopes = of_years(years, [-0.4 if year == 1940 else 0.0 for year in years]).slopes(draws=20)
    once = slope(np.array([1920.0, 1930, 1940, 1950, 1960, 1990]), np.array([0, 0, -0.4, 0, 0, 0.0]), np.ones(6))
    assert slopes["later"]["estimate"] == pytest.approx(10 * once)


def test_what_a_control_gains_too_is_not_of_time() -> None:
    ours, control = made(spoken_gain=0.1, noise=0.01), made(spoken_gain=0.1, noise=0.01, seeds=3)
    less = beyond_control(ours, control, draws=300)
    assert less is not None and less["low"] < 0 < less["high"] and abs(less["estimate"]) < 0.01
    assert less["clusters"] == 72 and less["n"] == 36 * 5 and less["seeds"] == 2
    alone, plain = (shift.differences(draws=300)["later"] for shift in (ours, made(noise=0.01)))
    more = beyond_control(ours, made(noise=0.01), draws=300)
    assert more is not None and more["high"] < 0
    assert more["estimate"] == pytest.approx(alone["estimate"] - plain["estimate"], abs=1e-9)
    assert beyond_control(ours, made(ahead=5.0)) is None


def test_raw_shifts_are_of_last_points_and_count_later_documents() -> None:
    shift = made(gain=0.02)
    mdms, arms = ([pair[i] for pair in shift.runs] for i in (0, 1))
    figure = shift.raw(mdms, draws=50)
    last = mdms[0].loss(shift.later_N.astype(float))[-1] - mdms[0].loss(shift.period_N.astype(float))[-1]
    assert figure["estimate"] == pytest.approx(last) and (figure["n"], figure["clusters"]) == (72, 36)
    both = shift.raw(mdms, arms, draws=50)
    assert both["estimate"] == pytest.approx(figure["estimate"] - shift.raw(arms, draws=2)["estimate"])


def test_compute_ratio_at_equal_loss() -> None:
    shift = made()
    mdm, arm = shift.runs[0]
    # FLOPs are the same function of the loss for both here.
    assert compute_ratio(mdm, arm, shift.period_N) == pytest.approx(1, rel=0.02)


@given(st.lists(st.floats(0.5, 5), min_size=2, max_size=8, unique=True), st.floats(0.5, 5))
def test_a_line_gives_back_its_own_points(losses: list[float], wanted: float) -> None:
    arm = np.array(losses)
    line = Line.of(arm, arm)
    np.testing.assert_allclose(line.at(arm), arm, rtol=1e-6)
    assert line.inside_M.all()
    inside = Line.of(np.array([wanted]), arm)
    assert bool(inside.inside_M[0]) == (min(losses) <= wanted <= max(losses))
    if inside.inside_M[0]:
        assert inside.at(arm)[0] == pytest.approx(wanted, rel=1e-6)


def test_slope() -> None:
    years = np.array([1900.0, 1910, 1920])
    assert slope(years, 0.3 * years + 1, np.array([1.0, 2, 1])) == pytest.approx(0.3)
    assert np.isnan(slope(years, years, np.zeros(3))) and np.isnan(slope(years[:1], years[:1], np.ones(1)))
