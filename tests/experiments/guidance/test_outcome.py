"""The verdict on guidance, from intervals made by hand."""

from __future__ import annotations

from typing import Any

from unmask.experiments.guidance import outcome


def made(*bounds: tuple[float, float], pmi: float = 0.01) -> dict[str, Any]:
    def figure(low: float, high: float) -> dict[str, Any]:
        return {"estimate": (low + high) / 2, "low": low, "high": high}

    ways = [{"unsupervised": {"gain": figure(*one), "guided_less_pmi": figure(pmi, pmi + 0.02)}} for one in bounds]
    return {"headline": dict(zip(("headword", "continuation"), ways, strict=False))}


def test_verdicts() -> None:
    assert outcome.holds(made((0.01, 0.03), (0.01, 0.02))) == "yes: it gains on headword, continuation"
    assert "PMI gains as much on headword" in outcome.holds(made((0.01, 0.03), pmi=-0.01))
    assert outcome.holds(made((0.01, 0.03), (-0.01, 0.02))).startswith("in part: it gains on headword alone")
    assert outcome.holds(made((-0.03, -0.01))) == "no: it loses on headword"
    assert outcome.holds(made((-0.03, 0.01))).startswith("not seen")
    assert "headword +2.0 [+1.0, +3.0]" in outcome.figure(made((0.01, 0.03)))
