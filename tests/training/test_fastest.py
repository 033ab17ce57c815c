"""The fastest way to train a shape: what is chosen and when arms are dropped by hand, then once for real."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.training import fastest as module
from unmask.training.fastest import Arm, choose, fastest, ways_of


def arm(rate: float, compile: bool = False, starts: float = 0.0, processes: int = 2, again: float | None = None) -> Arm:
    return Arm("fp32", compile, 2 // processes, processes, rate, rate, rate, 1.0, starts, again, "")


def test_a_way_that_compiles_is_chosen_for_long_runs_alone():
    eager, compiled = arm(100.0), arm(200.0, compile=True, starts=20.0, again=4.0)
    # Of the machine: n / 100 against n / 200 + 4 / 2.
    assert choose([eager, compiled], 300) is eager
    assert choose([eager, compiled], 500) is compiled
    alone = dataclasses.replace(compiled, again_seconds=None)
    assert choose([eager, alone], 500) is eager and choose([eager, alone], 5000) is alone
    assert choose([arm(0.0), eager], 1) is eager  # one that could not be measured


def test_ways_fill_the_cores(monkeypatch):
    monkeypatch.setattr(module, "processor_has_bf16", lambda: True)
    assert [way.name for way in ways_of(2, True)] == [
        f"{precision} {made} {layout}"
        for made in ("eager", "compiled")
        for precision in ("fp32", "bf16")
        for layout in ("2 x 1", "1 x 2")
    ]
    assert {(way.processes, way.threads) for way in ways_of(6, True)} == {(6, 1), (3, 2), (2, 3), (1, 6)}
    monkeypatch.setattr(module, "processor_has_bf16", lambda: False)
    assert {way.precision for way in ways_of(2, True)} == {"fp32"}
    assert not any(way.compile for way in ways_of(2, False))


def test_fastest_for_real_and_from_the_cache(recipe, monkeypatch):
    """Eager only: the run is too short for compiling. Another batch is another measurement, a damaged file as well."""
    said: list[str] = []
    monkeypatch.setattr(shutil, "which", lambda name: None)
    best = fastest(recipe, cores=1, seconds=2, say=said.append)
    assert not best.cached and said[0].startswith("measuring") and "tokens/s" in said[-1]
    assert (best.threads, best.processes, best.compile) == (1, 1, False)
    assert best.tokens_per_second > 0 and best.tokens == 100 * 2 * 16
    assert best.arms[0].precision == best.precision and len(best.arms[0].stopped) == 0
    assert best.recipe(recipe).threads == 1 and best.recipe(recipe).precision == best.precision
    assert "1 processes x 1 threads" in best.in_words() and json.dumps(best.to_dict())
    said.clear()
    again = fastest(recipe, cores=1, say=said.append)
    assert again.cached and not said
    assert dataclasses.replace(again, cached=False) == best
    (file,) = (Path(recipe.data).parent / "cache" / "fastest").iterdir()
    file.write_text("{}")
    assert module._known(file, {}) is None


def test_bad_input_is_one_line(recipe):
    with pytest.raises(UserError, match="cores is 0"):
        fastest(recipe, cores=0)
    with pytest.raises(UserError, match="init is"):
        fastest(dataclasses.replace(recipe, init="runs/a"))
    with pytest.raises(UserError, match="longer than the train split"):
        fastest(dataclasses.replace(recipe, context=1 << 13))
