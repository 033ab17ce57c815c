"""A run in a process of its own ends saved when it is told to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

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


def test_a_parent_of_many_threads_that_is_killed_is_one_signal(tmp_path: Path):
    """A second one would end training unsaved."""
    counts = tmp_path / "counts.py"
    counts.write_text(
        textwrap.dedent("""
        import signal, sys, time
        from unmask.scaling.child import stop_at_end_of
        signals = []
        signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
        stop_at_end_of(0)
        print("ready", flush=True)
        while not signals:
            time.sleep(0.01)
        time.sleep(0.5)
        print(len(signals), flush=True)
        """)
    )
    parent = """
    import subprocess, sys, threading, time
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    child = subprocess.Popen([sys.executable, sys.argv[1]], stdin=subprocess.PIPE)
    time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(parent), str(counts)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == "1\n"
