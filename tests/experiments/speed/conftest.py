"""A whole run of the experiment, made very small: bases, judge and fine-tuning of some tens of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from unmask.evaluation.stages import Stages
from unmask.experiments import workplace
from unmask.experiments.frame import Settings
from unmask.experiments.speed.experiment import run as run_speed
from unmask.experiments.speed.plan import Plan, plan_of
from unmask.training.loop import train
from unmask.training.record import chosen_recipe

SMALL = (
    *("length=24", "survey_words=6", "test_words=8", "validation_words=2", "finalists=2", "rounds=1", "draws=2"),
    *("temperatures=[0.3, 2.0]", "batches=[1, 2]", "limits=[50]", "timed_texts=1", "window=[-0.3, 0.02]"),
    *("bases.arm={size: 16x1, tokens: 40000}", "bases.arm-equal={size: 16x1, tokens: [10000, 20000]}"),
    "bases.mdm={size: 16x1, tokens: 20000, rules: [confidence]}", "bases.mdm-large={size: 16x1, tokens: 40000}",
    *("finetune={steps: 20, batch_size: 8}", "judge={tokens: 10000, batch_size: 8, model: {n_layer: 1, n_embd: 16}}"),
    "rules=[{name: confidence, order: confidence, quota: even, tokens_a_step: [8]}, "
    "{name: threshold, order: confidence, quota: threshold, values: [0.2]}]",
)


def quick_plan(*changes: str) -> Plan:
    return plan_of(Settings(Path("nowhere"), quick=True, changes=changes))


def in_this_process(commands: Mapping[str, Sequence[str]], stages: Stages, **facts: Any) -> dict[str, Any]:
    """Trains as the children of a workplace do, without the seconds that each takes to start."""
    found = {}
    for name, words in commands.items():
        recipe = chosen_recipe(words[4], {}, resume=False)
        found[name] = train(recipe).to_dict()
        stages.add(name, 0.1, 0)
        facts["ended"](name, found[name])
    return found


class Run(NamedTuple):
    settings: Settings
    result: dict[str, Any]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("speed") / "run"
    settings = Settings(out, seeds=(0, 1), quick=True, changes=SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workplace, "run_together", in_this_process)
        return Run(settings, run_speed(settings))


@pytest.fixture(scope="session")
def out(run: Run) -> Path:
    return run.settings.out
