"""A whole run of the experiment, made very small: bases, judge and fine-tuning of some tens of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from unmask.experiments.speed.experiment import SpeedOptions, speed

SMALL: dict[str, Any] = {
    **{"length": 16, "survey_words": 6, "test_words": 8, "validation_words": 2, "seeds": 2, "finalists": 2},
    **{"temperatures": [0.5, 1.5], "batches": [1], "rounds": 1, "draws": 2},
    "bases": {
        "arm": {"kind": "arm", "size": "16x1", "tokens": 4e4},
        "mdm": {"kind": "mdm", "size": "16x1", "tokens": 2e4},
        "mdm-large": {"kind": "mdm", "size": "16x1", "tokens": 4e4},
    },
    "finetune": {"steps": 20, "batch_size": 8, "optimizer": {"lr": 3e-3, "warmup": 2}, "validation": {"windows": 2}},
    "judge": {
        **{"steps": 20, "context": 64, "batch_size": 8, "objective": {"kind": "arm"}},
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16},
        "validation": {"windows": 2, "draws": 2},
    },
    "rules": [
        {"name": "confidence", "order": "confidence", "quota": "even", "tokens_a_step": [8]},
        {"name": "threshold", "order": "confidence", "quota": "threshold", "values": [0.2]},
    ],
}


class Run(NamedTuple):
    options: SpeedOptions
    result: dict[str, Any]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = SpeedOptions(out=str(tmp_path_factory.mktemp("speed") / "run"), quick=True, changes=SMALL)
    return Run(options, speed(options))


@pytest.fixture(scope="session")
def out(run: Run) -> Path:
    return Path(run.options.out)
