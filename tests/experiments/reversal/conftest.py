"""The experiment made tiny, and stopped after the choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from unmask.experiments.command import run_experiment
from unmask.experiments.options import ExperimentOptions

SMALL = (
    "own.people=3", "own.both=3", "model={n_embd: 16, n_layer: 1, n_head: 1}", "epochs.own={mdm: 0.3, arm: 0.3}",
    "checkpoints=2", "each.own=1",
)  # fmt: skip


def options(out: Path, **more: object) -> ExperimentOptions:
    fields = {"name": "reversal", "quick": True, "out": str(out), "set": SMALL, "jobs": 2, **more}
    return ExperimentOptions(**fields)  # type: ignore[arg-type]


class Chosen(NamedTuple):
    """The folder, and what lay in it when the choice was made: tests go on with it."""

    out: Path
    told: dict[str, Any]
    choice: dict[str, Any]
    asked: list[str]
    files: list[str]


@pytest.fixture(scope="session")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Chosen:
    out = tmp_path_factory.mktemp("experiment") / "reversal"
    told = run_experiment(options(out, until="choice"))
    asked = [path.name for path in (out / "stages").glob("answers-*")]
    choice = json.loads((out / "choice.json").read_text())
    return Chosen(out, told, choice, asked, [path.name for path in out.iterdir()])
