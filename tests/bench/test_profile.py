"""The phases of a step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unmask.bench.arms import Arm, build_arm, exactness_seconds
from unmask.bench.corpus import random_corpus
from unmask.bench.profile import phases
from unmask.diffusion.objective import ObjectiveConfig
from unmask.training.distribution import Ranks
from unmask.training.recipe import ModelFields, OptimizerFields, Recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "data"
    random_corpus(folder, vocab_size=300, n_tokens=1 << 14)
    return folder


def recipe_of(corpus: Path, kind: str = "mdm", **changes) -> Recipe:
    objective = ObjectiveConfig(kind=kind, random_length=changes.pop("random_length", 0.3))
    model = ModelFields(n_layer=2, n_head=4, n_kv_head=2, n_embd=32)
    fields = {"data": str(corpus), "out": "-", "steps": 1000, "context": 32, "batch_size": 4, "threads": 1}
    fields["precision"] = "fp32"
    optimizer = OptimizerFields(lr=1e-2, schedule="constant", warmup=0)
    return Recipe(**fields | changes, model=model, objective=objective, optimizer=optimizer)


@pytest.fixture
def arm_of(corpus: Path) -> Iterator:
    made: list[Arm] = []

    def make(name: str, **changes) -> Arm:
        made.append(build_arm(name, recipe_of(corpus, **changes), CPU, Ranks(CPU), print))
        return made[-1]

    yield make
    for arm in made:
        arm.close()


def test_phases_add_up_and_leave_the_arm_as_it_was(arm_of):
    arm = arm_of("ours")
    found = phases(arm, 0)
    assert set(found) == {"data", "layers, forward", "head and loss", "backward", "clip and optimizer"}
    assert all(0 <= seconds < 5 for seconds in found.values())
    assert not {"update", "forward_backward"} & vars(arm.engine).keys()
    assert exactness_seconds(arm, steps=2) > 0
