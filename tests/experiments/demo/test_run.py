"""`make demo` as a user meets it: finished, repeated, stopped, killed, and given bad input. Real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import unmask
from unmask.evaluation.stages import Stages
from unmask.experiments.demo import run
from unmask.experiments.demo.options import DemoOptions
from unmask.experiments.demo.run import EQUAL, KINDS, train
from unmask.settings import RECIPES


def test_every_number_the_issue_asks_for(demo_run: Path, summary: dict[str, Any]) -> None:
    for name in ("mdm", "arm", "unigram", "xz"):
        assert 0.1 < summary[name]["bits_per_byte"] < 12
    assert summary["mdm"]["bits_per_byte_se"] > 0 and summary["mdm"]["is_bound"]
    for entry, what in ((summary["mdm"], "bits_per_byte"), (summary["mdm"], "nats_per_token")):
        half = 3.182446 * entry[f"{what}_se"]  # four draws
        assert entry[f"{what}_interval"] == pytest.approx([entry[what] - half, entry[what] + half])
    assert summary["arm"]["bits_per_byte_interval"] == [summary["arm"]["bits_per_byte"]] * 2
    for point in summary["curves"]["mdm"]:
        assert point["bits_per_byte_interval"][0] < point["bits_per_byte"] < point["bits_per_byte_interval"][1]
    assert summary["arm"]["bits_per_byte_se"] == 0 and not summary["arm"]["is_bound"]
    for name in ("prepare", "mdm", "arm", "evaluate", "samples", "speed", "pictures"):
        stage = summary["stages"][name]
        assert stage["seconds"] > 0 and stage["peak_memory_bytes"] > 1e7
    assert summary["training"]["mdm"]["flops"] == pytest.approx(summary["training"]["arm"]["flops"], rel=0.1)
    for kind in ("mdm", "arm"):
        assert unmask.load(demo_run / kind).kind == kind
        curve = summary["curves"][kind]
        assert curve and curve[-1]["flops"] == pytest.approx(summary["training"][kind]["flops"])
    shown = (demo_run / "stdout").read_text()
    assert f"mdm      {summary['mdm']['bits_per_byte']:.3f} (upper bound" in shown
    assert str(demo_run / "report.html") in shown
    assert (demo_run / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_again_is_quick_and_trains_nothing(demo_run: Path, demo: Any, summary: dict[str, Any]) -> None:
    done = demo.run(demo_run, "--json")
    assert done.returncode == 0
    assert done.stderr.count("is trained already") == 2 and "step 1" not in done.stderr
    again = json.loads(done.stdout)
    assert again["mdm"] == summary["mdm"] and again["samples"] == summary["samples"]
    assert again["stages"]["mdm"] == summary["stages"]["mdm"]


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for_training(process: subprocess.Popen[str], out: Path) -> None:
    deadline = time.monotonic() + 60
    while not all((out / kind / "metrics.jsonl").is_file() for kind in ("mdm", "arm")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_stopped_it_saves_leaves_no_child_and_goes_on(demo: Any, tmp_path: Path, number: int) -> None:
    out = tmp_path / "demo"
    process = subprocess.Popen(demo.command(out, flops="2e11"), stderr=subprocess.PIPE, text=True)
    wait_for_training(process, out)
    family = children(process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopped; the same command goes on from here" in said and "Traceback" not in said
    assert len(family) >= 2 and not any(child.is_running() for child in family)
    for kind in ("mdm", "arm"):
        assert list((out / kind / "checkpoints").glob("step-*/config.json"))
    process = subprocess.Popen(demo.command(out, flops="2e11"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    resumed = set()
    for line in process.stderr:
        if "resumed at step" in line:
            resumed.add(line[:3])
        if resumed == {"mdm", "arm"}:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert resumed == {"mdm", "arm"}


def test_a_failing_child_stops_the_other_and_is_named(demo: Any, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    process = subprocess.Popen(demo.command(out, flops="2e11"), stderr=subprocess.PIPE, text=True)
    wait_for_training(process, out)
    arm = next(child for child in children(process) if any("demo-arm" in word for word in child.cmdline()))
    arm.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.strip().splitlines()[-1].startswith("unmask: error: arm: ")
    assert list((out / "mdm" / "checkpoints").glob("step-*/config.json")), "the other one saved itself"


def test_bad_input_is_one_line_and_status_2(demo: Any, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    recipes = tmp_path / "recipes"
    shutil.copytree(RECIPES, recipes)
    arm = yaml.safe_load((recipes / "demo-arm.yaml").read_text())
    (recipes / "demo-arm.yaml").write_text(yaml.safe_dump({**arm, "context": 32}))
    cases = [
        (["--out", tmp_path / "file" / "x"], "cannot be written"),
        (["--recipes", tmp_path], "demo-mdm.yaml does not exist; give --recipes a FOLDER with both"),
        (["--recipes", recipes], "context is 64 in"),
        (["--source", tmp_path / "empty"], "prepare: "),
        (["--windows", "1"], "--windows is 1; give at least 2"),
        (["--precision", "fp16"], "--precision is 'fp16' (did you mean 'bf16'?); give one of auto, fp32, bf16"),
        (["--tokenizer", "bpe:many"], "bpe:many"),
        (["--quick"], "--quick is of unmask experiment, not of unmask experiment demo"),
        (["--sourc", corpus], "unknown argument --sourc (did you mean '--source'?)"),
    ]
    for words, message in cases:
        done = demo.run(tmp_path / "out", *words)
        assert done.returncode == 2, (words, done.stderr)
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("unmask: error: ") and message in last, (words, done.stderr)
        assert "Traceback" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize(("precision", "told"), [(None, []), ("auto", ["--precision", "auto"])])
def test_the_number_type_goes_to_both_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str | None, told: list[str]
) -> None:
    begun: dict[str, list[str]] = {}
    monkeypatch.setattr(run, "run_together", lambda commands, stages, **facts: begun.update(commands))
    options = DemoOptions(out=tmp_path, precision=precision)
    train(options, {kind: options.recipe(kind) for kind in KINDS}, Stages(tmp_path / "stages.json"))
    assert sorted(begun) == ["arm", "mdm"]
    for command in begun.values():
        assert [word for word in command if word in ("--precision", "auto", "fp32", "bf16")] == told


def test_the_shipped_recipes_name_their_number_type() -> None:
    for path in RECIPES.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["precision"] in ("fp32", "bf16"), path


def test_the_shipped_recipes_are_twins(root: Path) -> None:
    mdm, arm = (yaml.safe_load((RECIPES / f"demo-{kind}.yaml").read_text()) for kind in ("mdm", "arm"))
    assert {name: mdm.get(name) for name in EQUAL} == {name: arm.get(name) for name in EQUAL}
    assert (mdm["objective"]["kind"], arm["objective"]["kind"]) == ("mdm", "arm")
    assert os.path.samefile(RECIPES, root / "recipes")
