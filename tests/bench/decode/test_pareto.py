"""The front and the equals of points set by hand."""

from __future__ import annotations

import math

from unmask.bench.decode.pareto import Point, equals, front, points

TWIN = Point("twin", "arm", 100.0, 2.0, 0.05, 3.3)
FAST = Point("fast", "mdm", 400.0, 3.0, 0.05, 3.3)
SAME = Point("same", "mdm", 150.0, 2.1, 0.05, 3.25)
FLAT = Point("flat", "mdm", 300.0, 1.5, 0.05, 2.8)
SLOW = Point("slow", "mdm", 90.0, 2.5, 0.05, 3.3)
NONE = Point("none", "mdm", 900.0, None, float("nan"), 3.3)
ALL = [TWIN, FAST, SAME, FLAT, SLOW, NONE]


def test_the_front() -> None:
    assert front(ALL, 3.3) == {"twin", "fast", "same"}
    assert front(ALL, None) == {"fast", "flat"}, "with entropy let fall, one setting beats all but the fastest"
    assert front([NONE], 3.3) == set()
    tied = Point("tied", "mdm", 400.0, 3.1, 0.05, 3.3)
    assert front([FAST, tied], 3.3) == {"fast"}


def test_equals_in_quality() -> None:
    assert [p.name for p in equals(ALL, TWIN, 3.3)] == ["same"], "0.1 bits are within two errors of 0.07"
    assert [p.name for p in equals(ALL, TWIN, None)] == ["flat", "same"]
    assert not NONE.not_worse(TWIN) and not FAST.not_worse(TWIN) and FLAT.not_worse(TWIN)


def test_as_good_as_is_two_standard_errors_of_the_difference() -> None:
    """What chance alone makes in 2% of cases or fewer is a difference; the width is part of what the table says."""
    error = math.hypot(0.03, 0.04)  # of the difference
    twin = Point("twin", "arm", 100.0, 2.0, 0.04, 3.3)
    for errors, good in ((-5.0, True), (0.0, True), (1.9, True), (1.99, True), (2.01, False), (3.0, False)):
        point = Point("point", "mdm", 150.0, 2.0 + errors * error, 0.03, 3.3)
        assert point.not_worse(twin) is good, f"{errors} standard errors"
        assert [p.name for p in equals([point], twin, 3.3)] == ["point"] * good


def test_a_setting_is_flattered_by_more_than_the_slack_alone() -> None:
    for below, flattered in ((-1.0, False), (0.0, False), (0.14, False), (0.16, True), (1.0, True)):
        assert Point("p", "mdm", 1.0, 2.0, 0.0, 3.3 - below).flattered(3.3) is flattered


def test_points_of_a_result() -> None:
    row = {"setting": "a", "kind": "mdm", "quality": {"entropy": {"value": 3.0, "se": 0.1}}}
    speed = {"1": {"tokens_per_second": {"median": 5.0}}}
    silent = {"setting": "b", "kind": "mdm", "quality": {"samples": 4, "empty": 4}, "speed": speed}
    (found,) = points({"rows": [{**row, "speed": speed}, silent]}, "1")
    assert (found.name, found.speed, found.bits, found.entropy) == ("a", 5.0, None, 3.0)
    assert points({"rows": [{**row, "speed": speed}]}, "8") == []
