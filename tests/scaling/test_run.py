"""Sweeps by real processes: killed and continued, shared by several writers, failures set aside, bad input."""

from __future__ import annotations

import json
import signal

import psutil
import pytest

import unmask
from scaling.conftest import Bench, part, stopped, until
from unmask.errors import UserError
from unmask.scaling.run import refuse_missing_type
from unmask.scaling.runs import PlannedRun

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch
LONG = 81_920  # tokens: 1,280 steps, a checkpoint every 32: seconds, in which its process can be killed


def test_a_sweep_is_run_scored_skipped_and_told_of(bench: Bench):
    bench.planned(part(), part("m", objective="mdm", sizes=["16x1"]))
    done = bench.run("run", bench.plan, "--out", bench.sweep, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 2
    rows = bench.rows()
    arm, mdm = rows["arm-16x2-512t-s0"], rows["mdm-16x1-512t-s0"]
    assert arm["method"] == "exact" and mdm["method"] == "mc-windows"
    assert arm["protocol"] == mdm["protocol"]
    assert arm["se"] == 0 and mdm["se"] > 0
    assert arm["tokens"] == 512 and arm["type"] == arm["planned_type"] == "fp32"
    for name in rows:
        folder = bench.sweep / "runs" / name
        assert not (folder / "checkpoints").exists()
        assert unmask.load(folder).config.n_params_non_embedding == rows[name]["params"]
    assert json.loads((bench.sweep / "progress.json").read_text())["done"] == 2
    stamp = (bench.sweep / "results.jsonl").stat().st_mtime_ns
    again = bench.run("run", bench.plan, "--out", bench.sweep)
    assert again.returncode == 0 and "2 done" in again.stdout
    assert (bench.sweep / "results.jsonl").stat().st_mtime_ns == stamp
    status = bench.run("status", bench.plan, "--out", bench.sweep)
    assert "2 runs: 2 done" in status.stdout


def test_a_runner_and_its_child_are_killed_and_all_goes_on_to_the_same_rows(bench: Bench):
    parts = (part(tokens=[LONG]), part("m", objective="mdm", tokens=[512]))
    bench.planned(*parts, most_epochs=1000)
    whole = bench.folder / "whole"
    assert bench.run("run", bench.plan, "--out", whole).returncode == 0
    first = bench.sweep / "runs" / "arm-16x2-81920t-s0"

    runner = bench.start("run", bench.plan, "--out", bench.sweep)
    until(lambda: any((first / "checkpoints").glob("step-*")))
    psutil.Process(runner.pid).children()[0].kill()  # the runner takes it up again
    until(lambda: (bench.sweep / "logs" / f"{first.name}.log").read_text().count("non-embedding") == 2)
    assert stopped(runner, signal.SIGKILL) == -signal.SIGKILL

    done = bench.run("run", bench.plan, "--out", bench.sweep)  # its orphans save themselves and go
    assert done.returncode == 0, done.stderr
    assert bench.rows() == bench.rows(whole)


def test_two_shards_write_one_results_file(bench: Bench):
    bench.planned(part(seeds=[0, 1, 2, 3]))
    first, second = (bench.start("run", bench.plan, "--out", bench.sweep, "--shard", f"{i}/2") for i in (1, 2))
    assert [process.wait(timeout=90) for process in (first, second)] == [0, 0]
    first.communicate(), second.communicate()
    assert len(bench.rows()) == 4
    assert len(list((bench.sweep / "claims").iterdir())) == 4


def test_a_failure_is_set_aside_until_it_is_retried(bench: Bench):
    """A rate at which training diverges; the others go on."""
    bench.planned(part(lr=[1e6], tokens=[4096]), part("b"))
    done = bench.run("run", bench.plan, "--out", bench.sweep, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (name,) = found["failures"]
    assert "diverged" in found["failures"][name] or "not finite" in found["failures"][name]
    assert "\n" not in found["failures"][name]
    assert list(bench.rows()) == ["arm-16x2-512t-s0"]
    assert f"{name} failed:" in done.stderr
    log = bench.sweep / "logs" / f"{name}.log"
    size = log.stat().st_size
    assert bench.run("run", bench.plan, "--out", bench.sweep).returncode == 0
    assert log.stat().st_size == size
    bench.run("run", bench.plan, "--out", bench.sweep, "--retry")
    assert log.stat().st_size > size
    assert "failed   " + name in bench.run("status", bench.plan, "--out", bench.sweep).stdout


def test_only_what_is_named_is_run(bench: Bench):
    bench.planned(part(), part("b", objective="mdm"))
    assert bench.run("run", bench.plan, "--out", bench.sweep, "--only", "b").returncode == 0
    assert list(bench.rows()) == ["mdm-16x2-512t-s0"]
    wrong = bench.run("run", bench.plan, "--out", bench.sweep, "--only", "gpt-*")
    assert wrong.returncode == 2 and "--only gpt-*" in wrong.stderr


def test_a_type_that_the_processor_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch):
    run = PlannedRun("x", "p", "arm", "16x2", 0, 1, 1e-3, 1, 10, 16, "bf16")
    monkeypatch.setattr("unmask.scaling.run.has_type", lambda name: name == "fp32")
    with pytest.raises(UserError, match="--precision fp32") as caught:
        refuse_missing_type([run], None)
    assert "\n" not in str(caught.value)
    refuse_missing_type([run], "fp32")
