"""Recipes of tiny models on a random corpus."""

from __future__ import annotations

from pathlib import Path

import torch

from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.training.recipe_fields import ModelFields, OptimizerFields, Recipe

CPU = torch.device("cpu")


def recipe_of(corpus: Path, kind: str = "mdm", **changes) -> Recipe:
    objective = ObjectiveConfig(kind=kind, random_length=changes.pop("random_length", 0.3))
    model = ModelFields(n_layer=2, n_head=4, n_kv_head=2, n_embd=32)
    fields = {"data": str(corpus), "out": "-", "steps": 1000, "context": 32, "batch_size": 4, "threads": 1}
    fields["precision"] = "fp32"
    optimizer = OptimizerFields(lr=1e-2, schedule="constant", warmup=0)
    return Recipe(**fields | changes, model=model, objective=objective, optimizer=optimizer)
