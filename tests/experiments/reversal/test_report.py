"""The verdict of the reversal experiment, from shares made by hand."""

from __future__ import annotations

import pytest

from unmask.experiments.reversal.report import figure, holds


def made(mdm: float, arm: float, learned: float = 1.0) -> dict:
    def kind(reversed_: float) -> dict:
        def figures(share: float) -> dict:
            one = {"estimate": share, "low": max(0, share - 0.04), "high": min(1, share + 0.04)}
            return {"name_accuracy": one, "description_bare": one}

        return {"trained": figures(learned), "both": figures(learned), "reversed": figures(reversed_)}

    return {"headline": {"mdm": kind(mdm), "arm": kind(arm)}}


@pytest.mark.parametrize(
    ("shares", "words"),
    [((0.85, 0.0), "yes"), ((0.5, 0.0), "in part"), ((0.03, 0.0), "no"), ((0.85, 0.0, 0.9), "open: the ARM")],
)
def test_the_verdict_needs_an_arm_that_has_learned(shares: tuple[float, ...], words: str) -> None:
    result = made(*shares)
    assert holds(result).startswith(words)
    if words.startswith("open"):
        assert "trained description_bare 90.0%, 95% wanted" in holds(result)
    assert figure(result).startswith("reversed names right, original: MDM")
