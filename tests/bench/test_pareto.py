"""The front and the equals of points set by hand."""

from __future__ import annotations

from unmask.bench.pareto import Point, equals, front, points

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


def test_points_of_a_result() -> None:
    row = {"setting": "a", "kind": "mdm", "quality": {"entropy": {"value": 3.0, "se": 0.1}}}
    speed = {"1": {"tokens_per_second": {"median": 5.0}}}
    silent = {"setting": "b", "kind": "mdm", "quality": {"samples": 4, "empty": 4}, "speed": speed}
    (found,) = points({"rows": [{**row, "speed": speed}, silent]}, "1")
    assert (found.name, found.speed, found.bits, found.entropy) == ("a", 5.0, None, 3.0)
    assert points({"rows": [{**row, "speed": speed}]}, "8") == []
