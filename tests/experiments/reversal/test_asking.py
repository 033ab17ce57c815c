"""What is asked, and when."""

from __future__ import annotations

import pytest

from unmask.experiments.reversal.asking import best_way, choose, ways

from .conftest import Chosen


def test_the_choice_is_written_before_a_reversed_question_is_asked(chosen: Chosen) -> None:
    assert chosen.told["until"] == "choice"
    own = chosen.choice["own"]
    assert own["start"] == "own" and set(own["choices"]["own"]) == {"mdm", "arm"}
    made = own["choices"]["own"]["mdm"]
    assert {made[asks]["order"] for asks in ("name", "description")} == {"confidence"} and made["people"] == "both"
    assert {row["asks"] for row in made["tried"]} == {"name", "description"}
    assert chosen.asked and not any("reversed" in name or "trained" in name for name in chosen.asked)
    assert "result.json" not in chosen.files


def test_an_autoregressive_model_has_one_way() -> None:
    grid = {"grid": {"order": ["confidence", "random"], "guidance": [0, 0.5]}, "blind": "prompt"}
    assert [tuple(way.values()) for way in ways(grid, "arm")] == [("left-to-right", 0.0, None, "prompt")]
    assert [(way["order"], way["guidance"]) for way in ways(grid, "mdm")] == [
        ("confidence", 0.0), ("confidence", 0.5), ("random", 0.0), ("random", 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({("a", 0): 0.9, ("a", 1): 0.95, ("b", 0): 0.2, ("b", 1): 0.97}, ("b", 1, None)),
        ({("a", 0): 1.0, ("a", 1): 1.0, ("b", 0): 1.0}, ("a", 0, None)),  # all are equal: the least
        ({("a", 0): 0.0, ("a", 6): 0.0}, ("a", 0, None)),  # nothing was learned: nothing is known
        ({("a", 0): 0.4, ("a", 1): 0.5, ("a", 1, 4): 0.6, ("a", 1, 8): 0.6}, ("a", 1, 4)),
        ({("a", 0): 0.5, ("a", 0, 4): 0.5}, ("a", 0, None)),
    ],
)
def test_the_best_is_chosen_and_among_equals_the_first(scores: dict, best: tuple) -> None:
    tried = [{"order": key[0], "guidance": key[1], "steps": None} for key in scores if len(key) == 2]
    steps = [key[2] for key in scores if len(key) == 3]
    found = best_way(lambda way: scores[tuple(v for v in way.values() if v is not None)], tried, steps)
    assert tuple(found.values()) == best


def test_both_kinds_of_model_begin_at_the_start_whose_choices_score_more_together() -> None:
    made = choose({
        "own": {"mdm": {"score": 0.6}, "arm": {"score": 0.2}},
        "own-base": {"mdm": {"score": 0.55}, "arm": {"score": 0.9}},
    })  # fmt: skip
    assert made["start"] == "own-base"  # although the MDM alone does better from random weights
    assert made["choices"]["own"]["mdm"] == {"score": 0.6}
