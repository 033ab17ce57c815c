"""`benchmarks.engine` on a tiny shape: both tables, with the counts they must have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import engine
from benchmarks.engine import EngineBenchOptions, bench_engine, in_words
from unmask.errors import UserError

SMALL: dict[str, Any] = {"size": ["1x2x16"], "grid_size": ["1x2x16"], "vocab": 50, "length": 12, "steps": [6]}
GRID: dict[str, Any] = {"grid_length": [8], "grid_prompt": [0, 4], "grid_batch": [1], "transformers": False}


def test_both_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BATCH_LENGTH", 16)
    result = bench_engine(EngineBenchOptions(**SMALL, **GRID, guidance=0.5, out=str(tmp_path / "e.json")))
    assert json.loads((tmp_path / "e.json").read_text()) == json.loads(json.dumps(result))
    assert not list(tmp_path.glob("*.partial*"))
    assert [(row["order"], row["steps"]) for row in result["samplers"]] == [("ancestral", 6), ("confidence", 6)]
    confident = result["samplers"][1]
    assert confident["nfe"] == 2 * confident["ceiling"]["passes"], "guided passes count twice"
    assert confident["share_of_ceiling"] == confident["faster"]["median"] / confident["ceiling"]["ratio"]
    shapes = [(row["prompt"], row["length"], row["batch"]) for row in result["grid"]]
    assert shapes == [(0, 8, 1), (4, 8, 1), (0, 16, 1), (0, 16, 8)]
    row = result["grid"][2]
    assert row["nfe"]["ARM"] == 16 and row["nfe"]["MDM confidence, L/4 steps"] == 4
    assert all(len(found["rounds"]) == 2 and found["median"] > 0 for found in row["tokens_per_second"].values())
    text = in_words(result)
    assert "1x2x16: batch 8 over batch 1" in text and "ceiling" in text


def test_against_the_published_sampler_both_begin_from_a_bare_canvas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    generate = engine.generate

    def noted(model: Any, prompts: Any, *more: Any, **how: Any) -> Any:
        seen.append(prompts)
        return generate(model, prompts, *more, **how)

    monkeypatch.setattr(engine, "generate", noted)
    bench_engine(EngineBenchOptions(**SMALL, grid=False, rounds=1))
    assert seen and all(prompts == [None] for prompts in seen)


def test_turns_that_are_known_are_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def stop(*given: Any) -> float:
        calls.append(given)
        raise KeyboardInterrupt

    wanted = EngineBenchOptions(**SMALL, **GRID, out=str(tmp_path / "e.json"))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(engine, "passes", stop)
        bench_engine(wanted)
    monkeypatch.setattr(engine, "reference_sample", lambda *given, **how: calls.append(given))
    bench_engine(wanted)
    assert len(calls) == 1 + 2, "of the reference only the two calls that warm up"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rounds": 0}, "--rounds is 0; give at least 1"),
        ({"grid_prompt": [-1]}, "--grid-prompt is -1; give at least 0"),
        ({"size": ["7M"]}, "--size 7M is neither a preset"),
        ({"out": "nowhere/x.json"}, "its folder does not exist"),
    ],
)
def test_bad_input(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench_engine(EngineBenchOptions(**{**SMALL, **more}))
