"""Other checkouts as arms of a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.bench.corpus import random_corpus
from unmask.bench.processes import told
from unmask.diffusion.objective import ObjectiveConfig
from unmask.training.recipe import ModelFields, OptimizerFields, Recipe, build


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


def test_a_worker_is_told_what_is_not_as_usual_alone(corpus):
    """So that an older checkout need not know newer fields; what it makes of it is the same recipe."""
    recipe = recipe_of(corpus, precision="bf16")
    spec = told(recipe)
    assert set(spec) == {
        *("data", "out", "steps", "context", "batch_size", "threads", "precision"),
        *("model", "objective", "optimizer"),
    }
    assert spec["objective"] == {"random_length": 0.3}
    assert build(Recipe, spec, "") == recipe
