"""The table of `unmask bench train`."""

from __future__ import annotations

import re

from bench.train.reports import report
from unmask.bench.train.table import table


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each line, by what it begins with."""
    cells = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.startswith("  ")]
    return {first: rest for first, *rest in cells}


def test_an_arm_is_a_row_and_a_ratio_is_of_rounds() -> None:
    found = rows(table(report()))
    assert found["ours"] == ["900 [850, 950]", "0.9", "18.0% [17.0%, 19.0%]", "100 MiB", "0.90%"]
    assert found["plain"][0] == "450 [425, 475]"
    ratio = "ours / plain: 2.00x tokens/s [2.00, 2.00], 1.00 of its memory; losses agree to 0.0e+00"
    assert ratio in found and "2 ranks / ours: 1.54x [1.25 .. 2.00]" in found


def test_the_profile_says_where_the_time_went() -> None:
    phases = {"data": 0.01, "backward": 0.03}
    operators = [("aten::mm", 0.6, 1200)]
    profile = {"phases": phases, "matmul_share": 0.7, "trace": "t.json", "operators": operators}
    found = table(report(profile=profile))
    assert "phases of a step, 40 ms: data 25.0%, backward 75.0%" in found
    assert "matrix products and attention: 70.0% of operator time; t.json" in found
    assert " 60.0%   1,200 x  aten::mm" in found
