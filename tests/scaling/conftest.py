"""A tiny prepared corpus, and a sweep of models with a few thousand parameters on it, by the command line; fits and a
report of runs that were made up."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from scaling.fit_files import fit_file
from scaling.fitting import C4, fitted
from scaling.reports import LATER, UNIQUE, repeats, rows_of, write
from unmask.cli import main
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.scaling import report
from unmask.scaling.options import PlanOptions, ReportOptions
from unmask.scaling.plan import plan
from unmask.scaling.report import in_words, scale_report

TEXT = (
    "The quick brown fox jumps over the lazy dog. A masked model fills in what is hidden. "
    "We hold these truths to be self-evident, that all men are created equal. "
)
# What two makings of one run may differ in.
CLOCK = ("seconds", "training_seconds")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "text"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02d}.txt").write_text(f"Chapter {i}. " + TEXT * (1 + i % 3), encoding="utf-8")
    out = folder.parent / "data"
    prepare(PrepareOptions(sources=[str(folder)], out=out, tokenizer="bpe:300", split="random:0.2", workers=1))
    return out


class Bench:
    """A plan's settings, the plan, and its sweep in one folder."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.plan, self.sweep = folder / "plan.yaml", folder / "sweep"

    def settings(self, *parts: dict[str, Any], **changes: Any) -> Path:
        fields = {"data": str(self.data), "context": 16, "scoring": {"sequences": 8, "draws": 2}, "most_epochs": 50}
        fields |= {"batch": {"mdm": {"tokens": 64}, "arm": {"tokens": 64}}, "parts": list(parts), **changes}
        path = self.folder / "settings.yaml"
        path.write_text(yaml.safe_dump(fields), encoding="utf-8")
        return path

    def made(self, *parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The plan of some parts, by the function."""
        return plan(PlanOptions(plan=str(self.settings(*parts, **changes)), out=str(self.plan)))

    def planned(self, *parts: dict[str, Any], **changes: Any) -> Path:
        """The plan of some parts, by the command."""
        done = self.run("plan", self.settings(*parts, **changes), "--out", self.plan)
        assert done.returncode == 0, done.stderr
        return self.plan

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "unmask", "scale", *map(str, words)]

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """The command in this process; its children are real."""
        command, out, err = self.command(*words), io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            main(command[3:])
        return subprocess.CompletedProcess(command, int(end.value.code or 0), out.getvalue(), err.getvalue())

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def rows(self, sweep: Path | None = None) -> dict[str, dict[str, Any]]:
        """Results by name but for what the clock says."""
        lines = ((sweep or self.sweep) / "results.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        assert len({row["name"] for row in found}) == len(found)
        return {row["name"]: {k: v for k, v in row.items() if k not in CLOCK} for row in found}


@pytest.fixture
def bench(data: Path, tmp_path: Path) -> Bench:
    return Bench(data, tmp_path)


def part(name: str = "a", **changes: Any) -> dict[str, Any]:
    fields = {"part": name, "objective": "arm", "sizes": ["16x2"], "tokens": [512]}
    fields |= changes
    return {key: value for key, value in fields.items() if value is not None}


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def stopped(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> int:
    """Sends a signal and waits for the end; the status."""
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


@pytest.fixture
def written(tmp_path):
    def write(**more) -> str:
        path = tmp_path / "fit.json"
        path.write_text(json.dumps(fit_file(**more)))
        return str(path)

    return write


@pytest.fixture(scope="session")
def c4() -> dict[str, Any]:
    """The fit of the published runs (`needs_c4`)."""
    return fitted(C4, resamples=1000)


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """A sweep of both objectives with a plateau and repeated data."""
    rng = np.random.default_rng(3)
    rows = rows_of("arm", rng) + rows_of("mdm", rng, plateau=1.6e6)
    rows += repeats("arm", {1: 5.0, 2: 4.6, 4: 4.4, 8: 4.5, 16: 4.9})
    rows[-1] |= {"best_loss": 4.35, "best_tokens": 5 * UNIQUE}
    rows += repeats("mdm", {4: 5.4, 16: 4.8, 64: 4.2, 256: 4.0})
    return write(tmp_path_factory.mktemp("table") / "sweep.csv", rows)


@pytest.fixture(scope="session")
def made(table, tmp_path_factory) -> Path:
    """A report with a later run, which is made up here (test_later.py reads real ones)."""
    out = tmp_path_factory.mktemp("report") / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "read_later", lambda run, rule: dict(LATER))
        result = scale_report(ReportOptions(str(table), str(out), resamples=40, over=["runs/large"]))
    assert "report.html" in in_words(result) and "upper bound" in in_words(result)
    return out


@pytest.fixture(scope="session")
def page(made) -> str:
    """The page of that report."""
    return (made / "report.html").read_text()
