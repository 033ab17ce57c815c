"""An arm's process: one line of JSON an answer, whatever libraries print."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.train.recipes import recipe_of
from unmask.bench.train.processes import changed_fields


def answers(recipe: Any, arm: str, *asked: dict[str, Any]) -> list[dict[str, Any]]:
    """What a worker says to these questions, the first of them unasked."""
    spec = json.dumps({"arm": arm, "recipe": changed_fields(recipe)})
    command = [sys.executable, "-m", "unmask.bench.train.worker", spec]
    lines = "".join(json.dumps(question) + "\n" for question in asked)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_says_what_it_is_then_answers_each_line(corpus: Path) -> None:
    recipe = dataclasses.replace(recipe_of(corpus, random_length=0.0), compile=False)
    facts, turn, peak = answers(recipe, "ours", {"steps": 2}, {"peak": True})
    assert facts["parameters"] > 0 and facts["device"] == "cpu" and facts["exactness"] > 0 and facts["bare"] > 0
    assert turn["tokens"] == 2 * 4 * 32 and len(turn["losses"]) == 2 and 0 <= turn["waited"] <= turn["seconds"]
    assert turn["memory"] >= facts["bare"] and peak == {"peak": peak["peak"]} and peak["peak"] > 0


def test_what_it_cannot_do_is_its_only_answer(corpus: Path) -> None:
    (found,) = answers(recipe_of(corpus), "plane", {"steps": 1})
    assert found == {"error": "--against plane is not known; give one of plain, transformers"}
