"""Two checkouts side by side: this one against itself gives the same, and about as fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.checkouts import ROOT, CheckoutOptions, compare, in_words, row_of
from unmask.errors import UserError


def test_a_checkout_against_itself(tmp_path: Path) -> None:
    options = CheckoutOptions(
        str(ROOT), size=["1x2x16"], rows=[1, 2], length=8, steps=2, rounds=2, starts=2, out=str(tmp_path / "c.json")
    )
    result = compare(options)
    assert (tmp_path / "c.json").is_file() and len(result["calls"]) == 8
    for row in result["calls"]:
        low, high = row["interval"]
        assert row["same"] and low <= row["ratio"] <= high
    assert in_words(result).count("\n") == 8


def test_the_ratio_is_of_pairs() -> None:
    row = row_of("x", {"other": [2.0, 4.0, 6.0], "ours": [1.0, 2.0, 3.0]}, [3], False)
    assert row["ratio"] == pytest.approx(2.0) and row["interval"] == pytest.approx([2.0, 2.0])
    assert "gives something else" in in_words({"rounds": 3, "calls": [row]})


def test_rounds_of_one_start_are_one_value() -> None:
    seconds = {"other": [2.0, 2.0, 2.0, 3.0, 3.0, 3.0], "ours": [1.0] * 6}
    low, high = row_of("x", seconds, [3, 3], True)["interval"]
    assert low < 1 and high > 6  # two starts, whatever their rounds say
    assert row_of("x", seconds, [6], True)["interval"][0] > 1.9


def test_what_is_no_checkout_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--against .*: give the folder of a checkout"):
        compare(CheckoutOptions(str(tmp_path)))
