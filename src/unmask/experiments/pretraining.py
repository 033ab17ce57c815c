"""What a model's training took: by the metrics of its run, or by its recipe where a folder has kept that alone.

    took = pretraining("runs/sweep/mdm")     # Took(run, tokens, flops, epochs); None for what is not told

A model that is no run's own (a package of weights) tells nothing. One that began with another has had its training too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unmask.errors import UserError
from unmask.model.checkpoints import step_of
from unmask.model.config import ModelConfig
from unmask.model.flops import training_flops_per_token
from unmask.model.folder import CONFIG, read_config
from unmask.model.presets import mean_length
from unmask.settings import read_json, read_yaml
from unmask.training.metrics import METRICS, read_records
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.record import RECIPE, read_record

MOST = 10  # models, each of which began with another


@dataclass(frozen=True)
class Took:
    """run: its folder. epochs: of the last training alone."""

    run: Path | None = None
    tokens: float | None = None
    flops: float | None = None
    epochs: float | None = None


def pretraining(path: str | Path, before: int = 0) -> Took:
    """Of a run, a model folder that keeps its recipe, or a checkpoint of either; what it began with is added."""
    path = Path(path)
    if before > MOST:
        return Took()
    folders = (path, *path.resolve().parents[:2])
    run = next((folder for folder in folders if (folder / METRICS).is_file()), None)
    took = by_recipe(path) if run is None else by_metrics(run, path)
    recipe = read_yaml(took.run / RECIPE) if took.run is not None and (took.run / RECIPE).is_file() else None
    if took.flops is None or not isinstance(recipe, dict) or not (began := recipe.get("init")):
        return took
    earlier = pretraining(began, before + 1) if Path(began).exists() else Took()
    return Took(took.run, both(took.tokens, earlier.tokens), both(took.flops, earlier.flops), took.epochs)


def both(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def by_metrics(run: Path, path: Path) -> Took:
    """Until the step of the checkpoint, where `path` is one."""
    last = step_of(path.name) if path.resolve() != run.resolve() else None
    steps = [one for one in read_records(run) if one["kind"] == "train" and (last is None or one["step"] <= last)]
    done = steps[-1] if steps else {}
    return Took(run, done.get("tokens"), done.get("flops"), done.get("epoch"))


def by_recipe(path: Path) -> Took:
    """Of a model folder with its recipe.yaml and nothing else of its run: all of its steps, as they are planned.

    Nothing of fine-tuning, whose tokens are those of its rows.
    """
    if not (path / RECIPE).is_file() or not (path / CONFIG).is_file():
        return Took()
    try:
        record = read_record(path)
        recipe = build(Recipe, record.settings, str(path / RECIPE)) if record is not None else None
    except UserError:  # of a later version, or of something else
        return Took()
    if recipe is None or not recipe.steps or recipe.sft is not None or recipe.lora is not None:
        return Took(path)
    config = ModelConfig.from_dict(read_config(path)["model"])
    share = recipe.objective.head_share(recipe.context)
    tokens = recipe.steps * recipe.batch_size * mean_length(recipe.context, recipe.objective.random_length)
    there = recipe.unique_tokens or (read_json(path / "data.json")["train"]["tokens"] if data_told(path) else None)
    per_token = training_flops_per_token(config, recipe.context, share, recipe.flops_rule)
    return Took(path, tokens, tokens * per_token, tokens / there if there else None)


def data_told(path: Path) -> bool:
    known = read_json(path / "data.json") if (path / "data.json").is_file() else {}
    return bool(known.get("train", {}).get("tokens"))
