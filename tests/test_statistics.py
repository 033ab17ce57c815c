"""Student's t against known values, and intervals that hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.statistics import Estimate, ci_text, error_of_sum, interval, mean, of_share, ratio, student_975

# scipy.stats.t.ppf(0.975, n), scipy 1.17
KNOWN = {
    1: 12.706204736174694,
    2: 4.302652729749462,
    3: 3.182446305283708,
    4: 2.7764451051977943,
    5: 2.570581835636315,
    7: 2.3646242515927853,
    15: 2.131449545559774,
    30: 2.0422724563012378,
    127: 1.9788195347028539,
    200: 1.9718962236339086,
    201: 1.971836506779859,
    5000: 1.9604385517065073,
}


@pytest.mark.parametrize(("degrees", "value"), KNOWN.items())
def test_students_t(degrees: int, value: float) -> None:
    assert student_975(degrees) == pytest.approx(value, rel=1e-8)


def test_students_t_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (*range(1, 260), 1000, 16383):
        assert student_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-8)
    with pytest.raises(ValueError, match="0 degrees"):
        student_975(0)


@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_intervals_of_few_values_hold_the_truth(count: int) -> None:
    rng = np.random.default_rng(count)
    held = [low <= 5.0 <= high for low, high in (mean(row).interval for row in rng.normal(5, 2, (4000, count)))]  # type: ignore[misc]
    assert 0.94 < np.mean(held) < 0.96


def test_intervals_of_sums_hold_the_truth() -> None:
    """Sums of estimates of few groups each, some of them exact."""
    rng = np.random.default_rng(1)
    for parts in ((2, 2, 2), (2,) * 8, (4, 3, 16), (3, 3, 3, 3)):
        held = []
        for _ in range(3000):
            own = [mean(rng.normal(1, 2, groups)) for groups in parts]
            se, groups = error_of_sum([*((e.se, e.groups) for e in own), (0.0, 0)])
            low, high = interval(sum(e.value for e in own) + 3, se, groups)  # type: ignore[misc]
            held.append(low <= len(parts) + 3 <= high)
        assert 0.94 < np.mean(held) < 0.995, parts
    assert error_of_sum([]) == error_of_sum([(0.0, 0)]) == (0.0, 0)
    assert error_of_sum([(1.0, 4), (1.0, 4)]) == (math.sqrt(2), 7)
    assert error_of_sum([(0.0, 4), (0.0, 3)]) == (0.0, 3)


def test_the_error_of_a_ratio_is_that_of_many_repetitions() -> None:
    rng = np.random.default_rng(1)

    def once() -> tuple[np.ndarray, np.ndarray]:
        below = rng.integers(5, 40, 50).astype(float)
        return below * rng.normal(3, 0.5, 50) + rng.normal(0, 4, 50), below

    found = [ratio(*once()) for _ in range(600)]
    assert np.mean([one.se for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.1)


def test_what_an_estimate_says() -> None:
    one = mean([1.0, 3.0])
    assert one.to_dict() == {
        "value": 2.0,
        "se": 1.0,
        "interval": [pytest.approx(2 - 12.7062, abs=1e-4), pytest.approx(2 + 12.7062, abs=1e-4)],
        "groups": 2,
    }
    assert one.scaled(-2).interval == [pytest.approx(-4 - 25.4124, abs=1e-3), pytest.approx(-4 + 25.4124, abs=1e-3)]
    assert mean([1.0]).interval is None and Estimate(1.0, 0.0, 0).interval == [1.0, 1.0]
    assert interval(1.0, None, 0) is None
    assert ci_text([1.0, 2.5], ".1f") == ", 95% [1.0, 2.5]" and ci_text(None) == ci_text([2.0, 2.0]) == ""


def test_wilsons_interval_of_a_share_is_scipys_and_has_a_width_at_its_ends() -> None:
    assert of_share(1 / 24, 24) == pytest.approx([0.0073935, 0.2024181], rel=1e-4)
    low, high = of_share(0.0, 24)
    assert low == pytest.approx(0, abs=1e-12) and high == pytest.approx(0.1379762, rel=1e-6)
    assert of_share(1.0, 24) == pytest.approx([1 - high, 1.0])
    stats = pytest.importorskip("scipy.stats")
    for right, n in ((0, 3), (2, 7), (24, 24), (900, 2000)):
        known = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert of_share(right / n, n) == pytest.approx([known.low, known.high], abs=1e-12)
