"""Reversed questions about people, for models that `unmask experiment reversal` has trained: who is it?

    asked = reversal(Path("runs/experiments/reversal"), seeds=(0, 1, 2), choices=2, each=10, tune=600, test=2100)
    asked.pool, asked.models

Its runs have read lines about our own people that have the name first; asked is the name behind a description, among
names of as many tokens of other people in the same place. Behind each name stand the end tokens that fill a row of that
experiment's training, which are the same for all. People are split into those the scale is chosen on and the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.evaluation.reversal.answers import prompt_ids
from unmask.experiments.guidance.items import TUNE_SHARE, Item, Pool, checked, others
from unmask.experiments.reversal.people import own_people
from unmask.model.folder import load, resolve
from unmask.scaling.corpus import held_out
from unmask.settings import read_json

KINDS = ("mdm", "arm")
BEGUN = "settings.json"


@dataclass(frozen=True)
class Asked:
    """Who is asked what: questions, and {"reversal-mdm-0": model folder, ...}."""

    pool: Pool
    models: dict[str, Path]
    facts: dict[str, Any]  # {"own": of which people, "runs": {"mdm-own-0": {"steps", "tokens", "flops"}, ...}}


def reversal(folder: Path, seeds: tuple[int, ...], choices: int, each: int, tune: int, test: int) -> Asked:
    """What there is in a folder of that experiment. each: questions of a person.

    Raises `UserError` for a folder that is no such experiment's or lacks a run.
    """
    path = folder / BEGUN
    begun: Any = read_json(path) if path.is_file() else {}
    if begun.get("experiment") != "reversal":
        mend = "run `unmask experiment reversal --out FOLDER` first, or leave it out"
        raise UserError(f"reversal: {folder} is no folder of that experiment; {mend}")
    names = [f"{kind}-own-{seed}" for kind in KINDS for seed in seeds]
    ends = {name: end_of(folder, name) for name in names}
    models = {f"reversal-{name.replace('-own', '')}": resolve(folder / "runs" / name) for name in names}
    own = begun["settings"]["own"]
    questions = own_people(own["people"], own["both"], own["seed"]).of("reversed", "name", each)
    model = load(next(iter(models.values())))
    assert model.tokenizer is not None and model.eos_id is not None, "prompt_ids says it"
    prompts = [prompt_ids(model, question.prompt) for question in questions]
    tokens = {question.person: model.tokenizer.encode(f" {question.person}") for question in questions}
    sides: dict[str, list[Item]] = {"tune": [], "test": []}
    for question, prompt in zip(questions, prompts, strict=True):
        name = tokens[question.person]
        among = [ids for ids in tokens.values() if len(ids) == len(name)]
        tail = [model.eos_id] * max(1, model.config.block_size - len(prompt) - len(name))
        answers = [[*ids, *tail] for ids in (name, *others(name, among, choices, question.prompt))]
        side = "tune" if held_out([f"tune {question.person}"], TUNE_SHARE) else "test"
        sides[side].append(Item(prompt, answers, question.person))
    rows = [{"prompt": "read by the runs of the experiment reversal", "completion": ""}]
    pool = checked(Pool(rows, sides["tune"][:tune], sides["test"][:test]), "reversal", "people")
    took = {name: {key: end.get(key) for key in ("steps", "tokens", "flops")} for name, end in ends.items()}
    return Asked(pool, models, {"own": own, "runs": took})


def end_of(folder: Path, name: str) -> dict[str, Any]:
    """What training said of a run at its end."""
    path = folder / "runs" / f"{name}.json"
    if not path.is_file():
        mend = "run that experiment with this seed, on own people from random weights, with both kinds of model"
        raise UserError(f"reversal: {folder} has no finished run {name}; {mend}")
    end: dict[str, Any] = read_json(path)
    return end
