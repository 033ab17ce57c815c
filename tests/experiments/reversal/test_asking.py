"""What is asked, and when."""

from __future__ import annotations

from unmask.experiments.reversal.asking import ways

from .conftest import Chosen


def test_the_choice_is_written_before_a_reversed_question_is_asked(chosen: Chosen) -> None:
    assert chosen.told["until"] == "choice"
    assert set(chosen.choice["own"]) == {"mdm", "arm"}
    assert chosen.choice["own"]["mdm"]["choice"]["order"] == "confidence"
    assert chosen.asked and not any("reversed" in name or "trained" in name for name in chosen.asked)
    assert "result.json" not in chosen.files


def test_an_autoregressive_model_has_one_way() -> None:
    grid = {"grid": {"order": ["confidence", "random"], "guidance": [0, 0.5]}}
    assert ways(grid, "arm") == [("left-to-right", 0.0)]
    assert ways(grid, "mdm") == [("confidence", 0.0), ("confidence", 0.5), ("random", 0.0), ("random", 0.5)]
