"""A run that forks off another: weights, moments, averages and counters of a checkpoint, under a recipe of its own.

    unmask train runs/trunk --fork runs/trunk@800 --out runs/branch --optimizer.schedule cooldown --steps 1000
    unmask train branch.yaml --fork runs/trunk@800 --out runs/branch

`init` takes weights alone; a fork takes all that a step changes, so with the recipe of its trunk it ends with the
trunk's weights, bit for bit. Steps count from the trunk's first, and so do samples, tokens and FLOPs. What says where
in the data a run stands must be the trunk's; rate, schedule, length, masks and number type are the branch's own. One
trunk at a constant rate with a short cooldown at each length replaces a run a length (Hägele et al. 2024, arXiv
2405.18392; Hu et al. 2024, arXiv 2404.06395).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.files import file_sha256
from unmask.model.checkpoints import Damaged, checkpoints, read_list, step_of
from unmask.model.config import ModelConfig
from unmask.model.folder import WEIGHTS, read_config
from unmask.training.checkpoint import TrainState, load_into, refuse_other_model
from unmask.training.checkpoint_files import STATE, run_of, shared_flaw
from unmask.training.distribution import Ranks
from unmask.training.metrics import copy_records
from unmask.training.recipe import SCHEMA_VERSION, differences
from unmask.training.recipe_fields import Recipe, fork_of
from unmask.training.record import PATHS, RECIPE, Record, read_record
from unmask.training.run_folder import checksums, flat, in_words, known_settings, read_json

FORK = "fork.json"  # of a run folder: what it forked off
STARTS = ("data.json", "sft.json", "lora.json")  # of a run folder: the sums of what it is trained on
# Settings that say which sample comes at which step, or which tensors there are.
SHARED = ("seed", "context", "batch_size", "unique_tokens", "unique_subset")
SHARED_GROUPS = ("sft.", "lora.")


def begins(recipe: Recipe, record: Record | None) -> bool:
    """Whether a run takes up its fork now: it has no checkpoint of its own. record: of the run in its folder."""
    return recipe.fork is not None and (record is None or not checkpoints(Path(recipe.out)))


def fork_record(recipe: Recipe, config: ModelConfig, steps: int, records: dict[str, Any]) -> dict[str, Any]:
    """What `fork.json` says: source, step and sums of what is taken up, and the tokens and seconds spent until then.

    config, steps, records: of the new run. Raises `UserError` where the checkpoint is not there, where it is of another
    model, of other data, or of a run that had other samples, and where no step would be left.
    """
    source, step = fork_of(str(recipe.fork))
    folder = checkpoint_at(Path(source), step)
    trunk = read_record(Path(source))
    if trunk is None:
        raise UserError(f"fork {source} is no run: it has no {RECIPE}; give RUN@STEP with a run folder")
    refuse_other_data(Path(source), records)
    refuse_other_samples(recipe, trunk, source)
    own = f"a fork goes on with the model of {source}; give its settings, or begin anew"
    refuse_other_model(folder, config, own)
    refuse_other_tokenizer(folder, source, records)
    if steps <= step:
        raise UserError(f"fork {recipe.fork} begins at step {step}, and the run ends at {steps}; give more steps")
    try:
        done = json.loads((folder / STATE).read_text(encoding="utf-8"))
        spent = {name: done[name] for name in ("tokens", "flops", "seconds")}
        sums = read_list(folder).files[WEIGHTS]
    except (OSError, ValueError, KeyError, TypeError, Damaged) as error:
        raise UserError(f"fork {recipe.fork}: {folder} is damaged; give another step: {there(Path(source))}") from error
    weights = sums.sha256 or file_sha256(folder / WEIGHTS)
    place = {"source": str(Path(source).absolute()), "step": step, "run": run_of(folder)[1]}
    return {"schema_version": SCHEMA_VERSION, **place, **spent, "weights_sha256": weights}


def checkpoint_at(run: Path, step: int) -> Path:
    """The checkpoint of a step. Raises `UserError` naming the steps that are there."""
    if not run.is_dir():
        raise UserError(f"fork {run}@{step}: {run} is no folder; give RUN@STEP with a run folder")
    for folder in checkpoints(run):
        if step_of(folder.name) == step:
            return folder
    mend = f"give one of {there(run)}" if checkpoints(run) else "it has no checkpoint at all"
    raise UserError(f"fork {run}@{step}: {run} has no checkpoint of step {step}; {mend} (checkpoint.at keeps some)")


def there(run: Path) -> str:
    """The steps of a run's checkpoints."""
    return ", ".join(str(step_of(folder.name)) for folder in checkpoints(run))


def refuse_other_data(source: Path, records: dict[str, Any]) -> None:
    """Raises `UserError` where the new run's data, tokenizer or base are not those that the trunk recorded."""
    then = {name: read_json(source / name, "put back its own") for name in STARTS}
    for name, record in then.items():
        if record is None and name in records and any(then.values()):
            raise UserError(f"{source} began with no {name.removesuffix('.json')}, and a fork of it goes on as it did")
        now = checksums(records.get(name, {}))
        if differing := [key for key, value in checksums(record or {}).items() if now.get(key) != value]:
            raise UserError(
                f"{source} was trained on other data: {in_words(differing)} (see {source / name}); a fork goes on with "
                "the trunk's, give its --data"
            )


def refuse_other_tokenizer(folder: Path, source: str, records: dict[str, Any]) -> None:
    """The same by the checkpoint, for a trunk that recorded no sums."""
    then = read_config(folder).get("tokenizer_hash")
    for name in STARTS:
        now = records.get(name, {}).get("tokenizer_sha256")
        if None not in (now, then) and now != then:
            raise UserError(f"{source} was trained with another tokenizer than the data's; give its --data")


def refuse_other_samples(recipe: Recipe, trunk: Record, source: str) -> None:
    """Raises `UserError` where the new run would not go on through the data where its trunk stood."""
    now, then = flat(recipe.to_dict()), known_settings(trunk.settings)
    names = {name for name in (*now, *then) if name in SHARED or name.startswith(SHARED_GROUPS)} - set(PATHS)
    if differing := differences(now, then, names):
        raise UserError(
            f"a fork goes on through the data where {source} stood, and {differing}; give the trunk's, or take its "
            "weights alone with --init"
        )
    if bool(recipe.ema) != bool(then["ema"]):
        has = f"averages weights (ema {then['ema']})" if then["ema"] else "averages no weights"
        raise UserError(f"ema is {recipe.ema}, and {source} {has}; give a fork of it {then['ema'] or 'no'} ema")


def refuse_damage(recipe: Recipe, ranks: Ranks) -> None:
    """Raises `UserError` where the checkpoint that a run forks off is not whole. Every rank calls it."""
    source, step = fork_of(str(recipe.fork))
    folder = ranks.together(lambda: checkpoint_at(Path(source), step))
    if (bad := shared_flaw(folder, ranks, recipe.checkpoint.verify == "full")) is not None:
        raise UserError(f"fork {recipe.fork}: {folder} is damaged: {bad}; give another step: {there(Path(source))}")


def take_up(state: TrainState, recipe: Recipe, ranks: Ranks) -> None:
    """Puts the checkpoint that a run forks off into its state, and the trunk's metrics before its own.

    Every rank calls it. Raises `UserError` where it cannot be read.
    """
    source, step = fork_of(str(recipe.fork))
    load_into(state, ranks.together(lambda: checkpoint_at(Path(source), step)), ranks)
    # A curve is whole, whoever trained its beginning.
    ranks.together(lambda: copy_records(Path(source), Path(recipe.out), step) if ranks.first else None)
