"""The compute gap of the published runs, form by form, and where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.fitting import fitted, gaps, needs_c4, table
from scaling.synthetic import law_of, sweep


@needs_c4
def test_c4_gaps(c4: dict[str, Any]) -> None:
    for form, axis, low, high, within in (
        ("approach2", "arm", 18.0, 21.4, 0.01),
        ("approach2", "mdm", 16.2, 19.2, 0.01),
        ("approach3", "arm", 15.2, 325, 0.03),
        ("approach3", "mdm", 9.2, 25.3, 0.03),
        ("approach3_shared", "arm", 15.8, 49.6, 0.03),
        ("approach3_shared", "mdm", 9.1, 22.9, 0.03),
    ):
        found = gaps(c4, form, axis)
        assert found[3e18]["estimate"] == pytest.approx(low, rel=within)
        assert found[3e20]["estimate"] == pytest.approx(high, rel=within)
        assert found[3e18]["inside"] == (axis == "arm") and found[3e20]["inside"] == (axis == "mdm")
    overlap = gaps(c4, "overlap", "mdm")
    assert list(overlap) == [6e19, 1e20, 3e20]
    for row, value in zip(overlap.values(), (18.9, 20.7, 19.3), strict=True):
        assert row["estimate"] == pytest.approx(value, rel=0.01) and row["inside"]
        assert row["low"] < row["estimate"] < row["high"]
    assert list(gaps(c4, "overlap", "arm")) == [3e18, 6e18, 1e19]
    beyond = gaps(c4, "approach3", "arm")[1e22]
    assert beyond["estimate"] is None and "E is above" in beyond["why"]


def test_no_overlap_is_null_and_the_rest_is_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    high = sweep("mdm", rng, 0.003, law=law_of("mdm", floor=5.0))[0]
    found = fitted(table(tmp_path, sweep("arm", rng, 0.003)[0], high))
    (overlap,) = [row for row in found["gap"] if row["form"] == "overlap"]
    assert overlap["estimate"] is None and "no loss was reached" in overlap["why"]
    assert gaps(found, "approach2", "arm")[1e12]["estimate"] > 1
