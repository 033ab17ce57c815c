"""A run in a process of its own ends saved when it is told to stop."""

from __future__ import annotations

import json
import signal

import psutil
import pytest

from scaling.conftest import Bench, part, stopped, until

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch


def test_a_signal_stops_the_children_saved(bench: Bench):
    bench.planned(part(tokens=[50 * 20480]), most_epochs=1000)
    runner = bench.start("run", bench.plan, "--out", bench.sweep)
    folder = bench.sweep / "runs" / "arm-16x2-1.024e6t-s0"
    until(lambda: (folder / "metrics.jsonl").is_file() and (folder / "metrics.jsonl").stat().st_size > 0)
    children = psutil.Process(runner.pid).children()
    assert stopped(runner, signal.SIGTERM) == 128 + signal.SIGTERM
    assert not any(child.is_running() for child in children)
    assert any((folder / "checkpoints").glob("step-*"))
    status = bench.run("status", bench.plan, "--out", bench.sweep, "--json")
    assert json.loads(status.stdout)["cuts"] == [folder.name]
    assert not (bench.sweep / "results.jsonl").exists()
