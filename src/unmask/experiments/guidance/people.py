"""Reversed questions about people, for models that `unmask experiment reversal` has trained: who is it?

    pool, models = reversal(Path("runs/experiments/reversal"), seeds=(0, 1, 2), choices=2, each=10)

Its runs have read lines about our own people that have the name first; asked is the name behind a description, among
names of as many tokens of other people in the same place. Behind each name stand the end tokens that fill a row of that
experiment's training, which are the same for all. People are split into those the scale is chosen on and the others.
"""

from __future__ import annotations

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


def reversal(
    folder: Path, seeds: tuple[int, ...], choices: int, each: int, tune: int, test: int
) -> tuple[Pool, dict[str, Path]]:
    """Items, and {"reversal-mdm-0": model folder, ...}. each: questions of a person.

    Raises `UserError` for a folder that is no such experiment's or lacks a run.
    """
    path = folder / BEGUN
    begun: Any = read_json(path) if path.is_file() else {}
    if begun.get("experiment") != "reversal":
        mend = "run `unmask experiment reversal --out FOLDER` first, or leave it out"
        raise UserError(f"reversal: {folder} is no folder of that experiment; {mend}")
    models = {f"reversal-{kind}-{seed}": run_of(folder, kind, seed) for kind in KINDS for seed in seeds}
    own = begun["settings"]["own"]
    questions = own_people(own["people"], own["both"], own["seed"]).of("reversed", "name", each)
    model = load(next(iter(models.values())))
    assert model.tokenizer is not None and model.eos_id is not None, "prompt_ids says it"
    prompts = [prompt_ids(model, question.prompt) for question in questions]
    names = {question.person: model.tokenizer.encode(f" {question.person}") for question in questions}
    sides: dict[str, list[Item]] = {"tune": [], "test": []}
    for question, prompt in zip(questions, prompts, strict=True):
        name = names[question.person]
        among = [ids for ids in names.values() if len(ids) == len(name)]
        tail = [model.eos_id] * max(1, model.config.block_size - len(prompt) - len(name))
        answers = [[*ids, *tail] for ids in (name, *others(name, among, choices, question.prompt))]
        side = "tune" if held_out([f"tune {question.person}"], TUNE_SHARE) else "test"
        sides[side].append(Item(prompt, answers, question.person))
    rows = [{"prompt": "read by the runs of the experiment reversal", "completion": ""}]
    return checked(Pool(rows, sides["tune"][:tune], sides["test"][:test]), "reversal", "people"), models


def run_of(folder: Path, kind: str, seed: int) -> Path:
    run = folder / "runs" / f"{kind}-own-{seed}"
    if not run.with_name(f"{run.name}.json").is_file():  # which a run has when it is at its end
        mend = "run that experiment with this seed, on own people from random weights, with both kinds of model"
        raise UserError(f"reversal: {folder} has no finished run {run.name}; {mend}")
    return resolve(run)
