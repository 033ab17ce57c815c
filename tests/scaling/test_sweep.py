"""A sweep's folder: it belongs to its plan, and a folder that is none is left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from scaling.conftest import Bench, part
from unmask.scaling.sweep import read_results

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch


def test_another_plans_folder_is_refused(bench: Bench):
    bench.planned(part())
    assert bench.run("run", bench.plan, "--out", bench.sweep).returncode == 0
    for changed, words in (
        ([part(seeds=[5])], "it has arm-16x2-512t-s0"),
        ([part(recipe={"optimizer.beta2": 0.5})], "other settings"),
    ):
        bench.planned(*changed)
        for verb in ("run", "status"):
            done = bench.run(verb, bench.plan, "--out", bench.sweep)
            assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    bench.planned(part(), scoring={"sequences": 9, "draws": 2})
    assert "scoring protocol differs" in bench.run("run", bench.plan, "--out", bench.sweep).stderr
    bench.planned(part(seeds=[0, 1]))  # an extension goes on
    assert bench.run("run", bench.plan, "--out", bench.sweep).returncode == 0
    assert len(bench.rows()) == 2


def test_a_folder_that_is_no_sweep_is_left_alone(bench: Bench):
    bench.planned(part())
    bench.sweep.mkdir()
    (bench.sweep / "thesis.txt").write_text("x")
    done = bench.run("run", bench.plan, "--out", bench.sweep)
    assert done.returncode == 2 and "is no sweep" in done.stderr
    assert os.listdir(bench.sweep) == ["thesis.txt"]
    gone = bench.run("status", bench.plan, "--out", bench.folder / "none")
    assert gone.returncode == 2 and "no sweep yet" in gone.stderr and not (bench.folder / "none").exists()


def test_validations_estimator_is_read_under_either_name(tmp_path: Path, root: Path):
    old = json.loads((root / "tests" / "frozen" / "artefacts" / "sweep" / "results.jsonl").read_text())
    methods = {"old": "mc-fixed", "new": "mc-windows", "arm": old["method"]}
    lines = [json.dumps({**old, "name": name, "method": method}) for name, method in methods.items()]
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + "\n")
    found = {name: row["method"] for name, row in read_results(tmp_path / "results.jsonl").items()}
    assert found == {"old": "mc-windows", "new": "mc-windows", "arm": "exact"}
    kept = read_results(root / "results" / "scaling" / "results.jsonl")
    assert {row["method"] for row in kept.values() if "method" in row} <= {"mc-windows", "exact"}


def test_a_folder_that_another_shard_is_just_making_is_taken(bench):
    """Its first file lies there under a hidden name for a moment."""
    bench.planned(part())
    bench.sweep.mkdir()
    (bench.sweep / ".sweep.json.partial-1").touch()
    assert bench.run("run", bench.plan, "--out", bench.sweep).returncode == 0
    (bench.folder / "other").mkdir()
    (bench.folder / "other" / "notes.txt").touch()
    done = bench.run("run", bench.plan, "--out", bench.folder / "other")
    assert done.returncode == 2 and "exists and is no sweep" in done.stderr
