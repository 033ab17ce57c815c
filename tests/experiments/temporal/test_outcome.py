"""The verdict on time, from intervals made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.experiments.temporal import outcome


def made(later: tuple[float, float] | None, kernel: tuple[float, float] | None) -> dict[str, Any]:
    def head(bounds: tuple[float, float] | None) -> dict[str, Any]:
        figure = bounds and {"estimate": sum(bounds) / 2, "low": bounds[0], "high": bounds[1]}
        return {"difference": {"later": figure} if figure else {}}

    corpora = {"speeches": {}, "kernel": {}, "reversed": {}}
    return {"corpora": corpora, "headline": {"speeches": head(later), "kernel": head(kernel), "reversed": head(None)}}


@pytest.mark.parametrize(
    ("later", "kernel", "verdict"),
    [
        ((-0.2, -0.1), (-0.1, -0.05), "yes"), ((0.1, 0.2), (0.1, 0.2), "no"), ((-0.1, 0.1), (-0.1, 0.1), "not seen"),
        ((-0.2, -0.1), (-0.1, 0.1), "in part: the MDM lies below for messages"), (None, (0.1, 0.2), "not known"),
    ],
)  # fmt: skip
def test_verdicts(later: Any, kernel: Any, verdict: str) -> None:
    result = made(later, kernel)
    assert outcome.holds(result).startswith(verdict)
    assert "bits/byte" in outcome.figure(result)
