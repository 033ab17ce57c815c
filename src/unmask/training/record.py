"""What a run keeps of its recipe, in its own recipe.yaml: going on from it, at another place, for longer.

    recipe = chosen_recipe("runs/mdm", {"steps": "400"}, resume=True)   # a run, a recipe file, or a shipped one's name
    lengths = lengths_of(recipe, record, steps_of)                      # steps now, before, and as the run began
    keep(path, recipe, lengths, step=200)                               # an extension is recorded with its step

Paths are recorded absolute. A longer run differs from the shorter one in nothing that was done: warm-up, intervals and
the steps of a decay stay as the first budget gave them, and a schedule that already bends towards its end is refused.
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unmask.errors import UserError, nearest
from unmask.files import write_whole
from unmask.model.config import ModelConfig
from unmask.model.folder import read_config
from unmask.settings import RECIPES, read_json, read_yaml, shipped
from unmask.training.checkpoint import newest_checkpoint
from unmask.training.optimizer import decay_steps
from unmask.training.overrides import apply, load_recipe, parsed
from unmask.training.recipe import SCHEMA_VERSION, build, settings_of
from unmask.training.recipe_fields import BUDGETS, Recipe

RECIPE, INIT = "recipe.yaml", "init.json"  # and what tells the model that a run began with
BESIDE = ("versions.json", "metrics.jsonl", ".lock")  # of a recipe.yaml that is a run's own
PATHS = ("data", "out", "init", "fork", "sft.validation")  # of a fork with its step


@dataclass(frozen=True)
class Record:
    """A run's recipe.yaml: its settings, and each time it was made longer."""

    settings: dict[str, Any]
    extensions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def budget(self) -> dict[str, Any]:
        return {name: value for name in BUDGETS if (value := self.settings.get(name))}

    @property
    def first_budget(self) -> dict[str, Any]:
        return dict(self.extensions[0]["from"]) if self.extensions else self.budget


@dataclass(frozen=True)
class Lengths:
    """Steps of a run: as asked for, as recorded until now, and as it was begun (which automatic values follow)."""

    steps: int
    before: int
    first: int


def chosen_recipe(what: str, overrides: dict[str, str], resume: bool) -> Recipe:
    """The recipe that `unmask train WHAT` means. Raises `UserError` naming what else WHAT could be."""
    path = Path(what)
    folder = path if path.is_dir() else path.parent
    own = path.name == RECIPE and any((folder / name).exists() for name in BESIDE)
    if path.is_dir() or own:
        if not (folder / RECIPE).is_file():
            raise UserError(f"{what} is a folder and no run: it has no {RECIPE}; {_where_the_run_is(folder)}")
        if not resume and "fork" in overrides:
            return branch_recipe(folder, overrides)
        if not resume:
            mend = f"add --resume to go on with it, or copy its {RECIPE} elsewhere for a new run"
            raise UserError(f"{what} is {'the recipe of ' if own else ''}a run; {mend}")
        return recorded_recipe(folder, overrides)
    if not path.exists():
        known = shipped()
        name = path.name.removesuffix(".yaml")
        if what.removesuffix(".yaml") not in known:
            hint = f" (did you mean the shipped recipe {name}?)" if name in known else nearest(name, known)
            raise UserError(f"{what} does not exist{hint}; give a recipe or a run, or one of {', '.join(known)}")
        path = RECIPES / f"{name}.yaml"
    return load_recipe(path, overrides)


def _where_the_run_is(folder: Path) -> str:
    if folder.resolve().parent.name == "checkpoints":
        return f"it is a checkpoint of {folder.resolve().parents[1]}"
    return "give a run folder or a recipe"


def branch_recipe(folder: Path, overrides: dict[str, str]) -> Recipe:
    """The recipe of the run in `folder` with overrides, for a new run that forks off one. Raises `UserError`."""
    if "out" not in overrides:
        raise UserError("--out is missing: what forks off a run is a run of its own; add --out FOLDER")
    return build(Recipe, apply(record_of(folder).settings, parsed(overrides)), "")


def recorded_recipe(folder: Path, overrides: dict[str, str]) -> Recipe:
    """The recipe of a run that lies in `folder` now, with overrides. Raises `UserError` for paths that are gone."""
    given = parsed(overrides)
    if "out" in given and Path(str(given["out"])).resolve() != folder.resolve():
        raise UserError(f"--out is {given['out']}, but the run lies in {folder}; leave out --out")
    recipe = build(Recipe, apply({**record_of(folder).settings, "out": str(folder)}, given), "")
    for name, value in paths_of(recipe.to_dict()).items():
        if name == "fork":  # with a checkpoint of its own the run needs its source no more
            continue
        if name not in given and not os.path.exists(value) and not glob.has_magic(value):
            away = "" if os.path.isabs(value) else ", or go where the run was begun, whose paths are relative to it"
            where = f"{name} {value}, which {folder / RECIPE} names, is not there"
            raise UserError(f"{where}; give --{name} with its place now{away}")
    return recipe


def read_record(folder: Path) -> Record | None:
    """The record of the run in a folder; None where there is none. Raises `UserError` where it is damaged."""
    path = folder / RECIPE
    if not path.is_file():
        return None
    try:
        whole = read_yaml(path)
        settings = settings_of(whole, str(path))
        extensions = whole.get("extensions", [])
        first = extensions[0]["from"] if extensions else {}
        if not isinstance(first, dict) or not set(first) <= set(BUDGETS):
            raise TypeError
        return Record(settings, extensions)
    except (UserError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ").split(";")[0]
        raise UserError(f"{path} is damaged: {reason}; put back its own, or give another --out") from error


def record_of(folder: Path) -> Record:
    """The record of a folder in which the caller has found a run. Raises `UserError` where it is damaged."""
    record = read_record(folder)
    assert record is not None, "looked for by the caller"
    return record


def paths_of(settings: dict[str, Any]) -> dict[str, str]:
    """The paths among settings, by dotted key; those that are not given are left out."""
    paths = {}
    for name in PATHS:
        group, _, last = name.rpartition(".")
        value = ((settings.get(group) or {}) if group else settings).get(last)
        if isinstance(value, str) and value:
            paths[name] = value
    return paths


def absolute(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings whose paths hold from any working directory."""
    return apply(settings, {name: os.path.abspath(path) for name, path in paths_of(settings).items()})


def written(recipe: Recipe, extensions: list[dict[str, Any]]) -> str:
    """The text of a run's recipe.yaml."""
    fields = {"schema_version": SCHEMA_VERSION, **absolute(recipe.to_dict())}
    return yaml.safe_dump({**fields, "extensions": extensions} if extensions else fields, sort_keys=False)


def lengths_of(recipe: Recipe, record: Record | None, steps_of: Callable[[Recipe], int]) -> Lengths:
    """`steps_of` plans a recipe's budget. Raises `UserError` where the new budget is below the run's own."""
    steps = steps_of(recipe)
    if record is None:
        return Lengths(steps, steps, steps)
    before, first = (
        steps_of(dataclasses.replace(recipe, **{**dict.fromkeys(BUDGETS, 0), **budget}))
        for budget in (record.budget, record.first_budget)
    )
    if steps < before:
        raise UserError(
            f"{in_words(recipe.budget())} is {steps} steps, fewer than the {before} of {recipe.out} "
            f"({in_words(record.budget)}); a run can only be made longer"
        )
    return Lengths(steps, before, first)


def in_words(budget: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.10g}" for name, value in budget.items())


def refuse_extension(recipe: Recipe, lengths: Lengths, step: int) -> None:
    """Raises `UserError` where a longer run would have done the first `step` steps otherwise."""
    if lengths.steps == lengths.before:
        return
    longer = f"{recipe.out} cannot go on from {lengths.before} to {lengths.steps} steps"
    mend = f"begin a new run with --init {recipe.out}, or train with constant or wsd"
    if recipe.optimizer.schedule in ("cosine", "cooldown"):
        falls = f"optimizer.schedule {recipe.optimizer.schedule} falls towards its last step from the first on"
        raise UserError(f"{longer}: {falls}; {mend}")
    last = lengths.before - decay_steps(lengths.first, recipe.optimizer)  # the last one at the full rate, from 0
    if recipe.optimizer.schedule == "wsd" and step - 1 > last:
        raise UserError(f"{longer}: optimizer.schedule wsd falls since step {last:g}, this is step {step}; {mend}")


def keep(path: Path, recipe: Recipe, lengths: Lengths, step: int) -> str | None:
    """Records where a resumed run and its data lie now, and its new budget; returns what to say of it."""
    record = read_record(path)
    if record is None:
        return None
    extensions = record.extensions
    settings = apply(record.settings, paths_of(recipe.to_dict()))
    if lengths.steps > lengths.before:
        added = {"step": step, "from": record.budget, "to": recipe.budget(), "steps": [lengths.before, lengths.steps]}
        extensions = [*extensions, added]
        settings = {**settings, **dict.fromkeys(BUDGETS, 0), **recipe.budget()}
    text = written(build(Recipe, settings, ""), extensions)
    if text != (path / RECIPE).read_text(encoding="utf-8"):
        write_whole(path / RECIPE, text)
    if extensions == record.extensions:
        return None
    return f"made longer at step {step}: {lengths.steps} steps instead of {lengths.before}"


def change_settings(path: Path, changes: dict[str, Any]) -> None:
    """Gives settings of the run in a folder other values from now on."""
    record = record_of(path)
    write_whole(path / RECIPE, written(build(Recipe, apply(record.settings, changes), ""), record.extensions))


def refuse_other_base(recipe: Recipe, record: Record, config: ModelConfig, base: str | None) -> None:
    """Raises `UserError` where a run goes on with an `init` at another place that is not the one it began with.

    `config` and `base`: shape and SHA-256 of the weights of that init. At its old place it may have been trained on
    since: from a checkpoint on the weights are the run's own. Of a run that did not record the sum the shape must do;
    the base of adapters is known by its own (lora.json).
    """
    then = paths_of(record.settings).get("init")
    if recipe.init is None or then is None or os.path.abspath(then) == os.path.abspath(recipe.init) or recipe.lora:
        return
    known = Path(recipe.out, INIT)
    weights = read_json(known).get("weights") if known.is_file() else None
    if weights is not None and weights != base:
        raise UserError(f"init {recipe.init} is another model than {then}, which {recipe.out} began with; give that")
    if weights is not None:
        return
    if (newest := newest_checkpoint(Path(recipe.out))) is None:
        raise UserError(f"init was {then}, is {recipe.init}, and {recipe.out} has no checkpoint yet; give the first")
    if ModelConfig.from_dict(read_config(newest)["model"]) != config:
        raise UserError(f"init {recipe.init} is of another shape than {recipe.out}, which began with {then}; give that")
