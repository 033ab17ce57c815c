"""A sweep over a local Ray cluster: the rows of one without it, also where a worker is killed; and a missing Ray."""

from __future__ import annotations

import importlib.util
import signal
import subprocess

import psutil
import pytest

from scaling.conftest import Bench, part, stopped, until
from unmask.errors import UserError
from unmask.scaling.options import RunOptions

LONG = 163_840  # tokens: 2,560 steps, a checkpoint every 32: seconds, in which a worker can be found and killed
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray: the extra scale")


def test_without_ray_one_line_names_the_extra(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.planned(part())
    monkeypatch.setattr("unmask.scaling.options.importlib.util.find_spec", lambda name: None)
    done = bench.run("run", bench.plan, "--out", bench.sweep, "--ray")
    assert done.returncode == 2 and "pip install 'unmask[scale]'" in done.stderr and done.stderr.count("\n") == 1
    assert not bench.sweep.exists()
    with pytest.raises(UserError, match="--ray needs the package ray"):
        RunOptions("plan.yaml", "sweep", ray=True)


@needs_ray
def test_a_cluster_that_does_not_answer_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.planned(part())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    done = bench.run("run", bench.plan, "--out", bench.sweep, "--ray")
    assert done.returncode == 2 and "no Ray cluster answers at 127.0.0.1:1 (" in done.stderr
    assert done.stderr.count("\n") == 1 and not (bench.sweep / "results.jsonl").exists()


def worker_of(runner: subprocess.Popen[str]) -> psutil.Process:
    """The Ray worker whose child trains."""
    for process in psutil.Process(runner.pid).children(recursive=True):
        if "unmask.scaling.child" in process.cmdline():
            return process.parent()
    raise AssertionError("nothing trains")


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_killed_workers_run_is_taken_up_again(bench: Bench) -> None:
    bench.planned(part(tokens=[LONG]), part("m", objective="mdm", tokens=[512]), most_epochs=1000)
    whole = bench.folder / "whole"
    assert bench.run("run", bench.plan, "--out", whole).returncode == 0
    first = bench.sweep / "runs" / "arm-16x2-163840t-s0"

    runner = bench.start("run", bench.plan, "--out", bench.sweep, "--ray", "--jobs", "1")
    until(lambda: any((first / "checkpoints").glob("step-*")), 120)
    worker = worker_of(runner)
    worker.kill()
    out, err = runner.communicate(timeout=240)
    assert runner.returncode == 0, err
    log = (bench.sweep / "logs" / f"{first.name}.log").read_text()
    assert "saved, go on with --resume" in log and "resumed at step" in log
    assert bench.rows() == bench.rows(whole)
    assert not list((bench.sweep / "failed").iterdir())


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_signal_stops_the_tasks_saved(bench: Bench) -> None:
    bench.planned(part(tokens=[1_024_000], seeds=[0, 1]), most_epochs=1000)
    runner = bench.start("run", bench.plan, "--out", bench.sweep, "--ray", "--jobs", "1")
    folder = bench.sweep / "runs" / "arm-16x2-1.024e6t-s0"
    until(lambda: (folder / "metrics.jsonl").is_file() and (folder / "metrics.jsonl").stat().st_size > 0, 120)
    children = psutil.Process(runner.pid).children(recursive=True)
    assert stopped(runner, signal.SIGTERM) == 128 + signal.SIGTERM
    until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    assert any((folder / "checkpoints").glob("step-*"))
    assert not (bench.sweep / "results.jsonl").exists()
