"""Random schedules of rows that come and go: each row writes what it writes alone. See `coming_and_going.py`."""

from __future__ import annotations

from collections import Counter

import pytest

from decoding.coming_and_going import check, oracle_model, transformer_model


def checked(kind: str, seeds: range) -> Counter[str]:
    model = oracle_model() if kind == "oracle" else transformer_model(causal=kind == "twin")
    total = Counter[str]()
    for seed in seeds:
        total += check(model, seed, exact=kind == "oracle")
    return total


@pytest.mark.parametrize(("kind", "schedules"), [("oracle", 5), ("transformer", 2), ("twin", 3)])
def test_some_schedules(kind: str, schedules: int) -> None:
    counts = checked(kind, range(schedules))
    assert counts["rows"] > 12 * schedules and counts["sat out"] and counts["refused"]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("kind", "schedules"), [("oracle", 200), ("transformer", 50), ("twin", 50)])
def test_all_schedules(kind: str, schedules: int) -> None:
    counts = checked(kind, range(schedules))
    print(f"{kind}: {dict(counts)}")
    assert counts["near a boundary"] <= 0.01 * counts["rows"]
