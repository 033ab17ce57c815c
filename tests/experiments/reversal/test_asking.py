"""What is asked, and when."""

from __future__ import annotations

from unmask.experiments.reversal.asking import choose, ways

from .conftest import Chosen


def test_the_choice_is_written_before_a_reversed_question_is_asked(chosen: Chosen) -> None:
    assert chosen.told["until"] == "choice"
    own = chosen.choice["own"]
    assert own["start"] == "own" and set(own["choices"]["own"]) == {"mdm", "arm"}
    assert own["choices"]["own"]["mdm"]["order"] == "confidence"
    assert chosen.asked and not any("reversed" in name or "trained" in name for name in chosen.asked)
    assert "result.json" not in chosen.files


def test_an_autoregressive_model_has_one_way() -> None:
    grid = {"grid": {"order": ["confidence", "random"], "guidance": [0, 0.5]}}
    assert [tuple(way.values()) for way in ways(grid, "arm")] == [("left-to-right", 0.0, None)]
    assert [(way["order"], way["guidance"]) for way in ways(grid, "mdm")] == [
        ("confidence", 0.0), ("confidence", 0.5), ("random", 0.0), ("random", 0.5),
    ]  # fmt: skip


def row(checkpoint: int, exact: float, **way: object) -> dict[str, object]:
    return {"checkpoint": checkpoint, "order": "confidence", "guidance": 0.0, "steps": None, **way, "exact": exact}


def test_both_kinds_of_model_begin_at_the_start_whose_choices_score_more_together() -> None:
    made = choose({
        "own": {"mdm": [row(9, 0.5), row(9, 0.6, steps=8), row(4, 0.6)], "arm": [row(9, 0.2)]},
        "own-base": {"mdm": [row(9, 0.55)], "arm": [row(9, 0.9)]},
    })  # fmt: skip
    assert made["start"] == "own-base"  # although the MDM alone does better from random weights
    best = made["choices"]["own"]["mdm"]
    assert (best["checkpoint"], best["steps"], best["exact"]) == (9, 8, 0.6)  # of equals the later checkpoint
