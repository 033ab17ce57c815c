"""The number type that a run computes in: as told, as it began, or the faster one by a short measurement.

    choice = choose("auto", device, config)      # Choice(name="bf16", why="its products are 3.9x faster here", ...)
    with autocast_for(choice.name, device): ...

Weights, moments, norms, losses and sums are fp32 either way; bf16 is the type of the matrix products (mixed precision,
arXiv 1710.03740). By `auto` a CPU takes it only where the processor says that it has bf16 products, and where they are
1.3 times faster in each of three tries (`product_speed.py`): there are processors on which they take a hundred times as
long. CUDA takes it always.

A run keeps its type in `precision.json`, with why, and goes on in it. It may be told to change from bf16 to fp32, which
is recorded with the step; the other way round is refused.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from unmask.errors import UserError
from unmask.files import write_whole
from unmask.model.config import ModelConfig
from unmask.model.number_types import NUMBER_TYPES, processor_has_bf16, processor_name, refuse_bf16
from unmask.training.distribution import Ranks
from unmask.training.product_speed import HOPELESS, LEAST, SMALL, TRIES, known_ratios
from unmask.training.recipe import SCHEMA_VERSION
from unmask.training.recipe_fields import Recipe, fork_of
from unmask.training.record import change_settings, read_record
from unmask.training.run_folder import read_json

PRECISION = "precision.json"  # of a run folder
MEND = "--precision fp32"


@dataclass(frozen=True)
class Choice:
    """A number type and why it was taken."""

    name: str  # fp32 or bf16
    why: str
    ratios: list[float] = field(default_factory=list)  # seconds in fp32 over those in bf16, of each try
    before: str | None = None  # the type of the run until now, where it changes

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def choose(asked: str, device: torch.device, config: ModelConfig, has_bf16: bool | None = None) -> Choice:
    """The type for a model on a device. `has_bf16`: all processors that take part have it; None: this one is asked.

    Raises `UserError` where bf16 is asked for and this processor has none.
    """
    on_cpu = device.type == "cpu"
    if asked == "bf16" and on_cpu:
        refuse_bf16("precision", MEND)
    if asked != "auto":
        return Choice(asked, "as told")
    if not on_cpu:
        return Choice("bf16" if device.type == "cuda" else "fp32", f"as always on {device.type}")
    if not (processor_has_bf16() if has_bf16 is None else has_bf16):
        return Choice("fp32", "this processor has no bf16 products")
    return measured(known_ratios(config), "layers" if config.n_embd <= SMALL else "products")


def measured(ratios: list[float], what: str) -> Choice:
    """The type by the ratios of each try."""
    if not ratios or (len(ratios) < TRIES and ratios[0] >= HOPELESS):
        return Choice("fp32", f"there was no time to measure {what} in bf16", ratios)
    typical = median(ratios)
    if min(ratios) >= LEAST:
        return Choice("bf16", f"its {what} are {typical:.1f}x faster here", ratios)
    if typical < 1:
        return Choice("fp32", f"{what} in bf16 are {1 / typical:.1f}x slower here", ratios)
    tries = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return Choice("fp32", f"{what} in bf16 are {tries}x as fast here, less than {LEAST}x", ratios)


def choice_of(recipe: Recipe, config: ModelConfig, device: torch.device, ranks: Ranks, resume: bool) -> Choice:
    """The type of a run, the same on all ranks: the first one measures. Every rank calls it.

    Raises `UserError` where a run cannot go on as told, and where a rank's processor lacks what it needs.
    """
    has_bf16 = all(ranks.all(ranks.together(processor_has_bf16)))
    before = ranks.together(lambda: began_with(Path(recipe.out), device) if resume else trunks(recipe, device))

    def own() -> Choice | None:
        if before is not None:
            return go_on(recipe, before, device)
        if recipe.precision == "auto" and not ranks.first:
            return None
        return choose(recipe.precision, device, config, has_bf16)

    choice = ranks.same(ranks.together(own))
    assert choice is not None, "the first rank has one"
    return choice


def go_on(recipe: Recipe, before: Choice, device: torch.device) -> Choice:
    """The type in which a run goes on. Raises `UserError` for one it cannot change to, or this processor has not."""
    asked = before.name if recipe.precision == "auto" else recipe.precision
    if asked == "bf16" and before.name == "fp32":
        raise UserError(f"precision is bf16, but {recipe.out} goes on in fp32, {before.why}; leave it out, or {MEND}")
    if asked == "bf16" and device.type == "cpu":
        refuse_bf16(f"precision of {recipe.out}", f"{MEND} to go on in that, which is recorded")
    return before if asked == before.name else Choice(asked, f"as told, bf16 {before.why}", before=before.name)


def trunks(recipe: Recipe, device: torch.device) -> Choice | None:
    """By `auto` a run that forks off another computes as that does; None where it does not, or is told otherwise."""
    if recipe.fork is None or recipe.precision != "auto":
        return None
    trunk = began_with(Path(fork_of(recipe.fork)[0]), device)
    return None if trunk is None else Choice(trunk.name, "as the run it forks off")


def began_with(path: Path, device: torch.device) -> Choice | None:
    """What the run in a folder computes in; None where there is no run. Raises `UserError` for a damaged record."""
    run = read_record(path)
    if run is None:
        return None
    if (known := recorded(path)) is not None:
        return known
    asked = str(run.settings.get("precision", "auto"))  # begun by an earlier version
    own = "bf16" if device.type == "cuda" else "fp32"
    return Choice(own if asked == "auto" else asked, "as it began")


def recorded(path: Path) -> Choice | None:
    """The type that a run's record says; None where there is no record. Raises `UserError` for a damaged one."""
    mend = 'put back its own, or write {"precision": "fp32"} (or bf16) there, in which it began'
    record = read_json(path / PRECISION, mend)
    if record is None:
        return None
    name, why, changes = record.get("precision"), "as it began", record.get("changes")
    if isinstance(changes, list) and changes and isinstance(changes[-1], dict):
        name, why = changes[-1].get("to"), f"as since step {changes[-1].get('step')}"
    if not isinstance(name, str) or name not in NUMBER_TYPES:
        raise UserError(f"{path / PRECISION} is damaged: precision is {name!r}; {mend}")
    return Choice(name, why)


def as_record(choice: Choice, asked: str) -> dict[str, Any]:
    """What `precision.json` says of a run that begins."""
    ratios = [round(ratio, 3) for ratio in choice.ratios]
    decision = {"precision": choice.name, "asked": asked, "why": choice.why, "ratios": ratios}
    place = {"processor": processor_name(), "threads": torch.get_num_threads()}
    return {"schema_version": SCHEMA_VERSION, **decision, **place, "changes": []}


def keep_choice(path: Path, choice: Choice, asked: str, step: int) -> None:
    """Records the type of a run that goes on, where that is new: an earlier version's, or another from this step on."""
    known = read_json(path / PRECISION, "")
    if choice.before is not None:
        change_settings(path, {"precision": choice.name})  # first: if this is cut off, resuming asks for the same
        known = known or as_record(Choice(choice.before, "as it began"), asked)
        known["changes"] = [*(known.get("changes") or []), {"step": step, "from": choice.before, "to": choice.name}]
    elif known is None:
        known = as_record(choice, asked)
    else:
        return
    write_whole(path / PRECISION, json.dumps(known, indent=2) + "\n")


def autocast_for(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """What a forward pass runs under in a type of `NUMBER_TYPES`: autocast where it is not fp32."""
    dtype = NUMBER_TYPES[name]
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)
