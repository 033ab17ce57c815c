"""The reverse curse (arXiv 2309.12288, arXiv 2410.18514): an MDM and an ARM of equal shape, asked in both directions.

    unmask experiment reversal --quick
    unmask experiment reversal --data reversal_curse --seeds 3 --until choice     # then keep choice.json, and
    unmask experiment reversal --data reversal_curse --seeds 3 --resume --plot
    unmask experiment reversal --base runs/sweep/mdm --base runs/sweep/arm        # from models that read prose, too

Stages: runs (child processes), choice (on people with both kinds of line), test. `choice.json` lies in --out before a
reversed question is asked. Headline: {mdm, arm} x {trained, reversed, both} x {name, description}_accuracy and what
stands beside them, of the original data where --data names it; those of our own people under `own`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.evaluation.reversal.answers import sayable
from unmask.evaluation.reversal.questions import DIRECTIONS, skipped_in_words
from unmask.evaluation.reversal.task import refuse_answered
from unmask.experiments import estimates
from unmask.experiments.frame import Settings
from unmask.experiments.pretraining import pretraining
from unmask.experiments.reversal.asking import answers_of, at_guidance, choice_of, choose, curve
from unmask.experiments.reversal.material import (
    Material,
    bases_of,
    material,
    people_of,
    recipe,
    refuse_unknown,
    refuse_untrainable,
    start_of,
    with_ablation,
)
from unmask.experiments.reversal.parts import arranged, together
from unmask.experiments.reversal.report import figure, holds, plot, reading
from unmask.experiments.workplace import KEPT, Workplace
from unmask.files import write_whole
from unmask.model.folder import load
from unmask.terminal import say

__all__ = ["figure", "holds", "plot", "reading", "run", "together"]
STAGES = ("runs", "choice")
CHOICE, EARLY = "choice.json", "choices-before-test.json"
# A begun folder may go on with others of these: a run is compared by its recipe, and what is asked is kept by what it
# uses.
FREE = ("sets", "starts", "kinds", "epochs", "grid", "blind", "each", "ranked", "ablation")


def run(settings: Settings) -> dict[str, Any]:
    """Raises `UserError` for settings that mean nothing, a base of the wrong kind, one that has read the reversed
    questions with their answers, and data that is missing."""
    chosen = with_ablation(settings)
    refuse_unknown(chosen)
    if settings.until not in (None, *STAGES):
        raise UserError(f"--until {settings.until} is no stage of reversal; give {' or '.join(STAGES)}")
    if settings.data is not None and "original" not in chosen["sets"]:
        mend = "add --set 'sets=[original, own]', or leave out --data"
        raise UserError(f"--data {settings.data} would not be read: sets is {chosen['sets']}; {mend}")
    bases = bases_of(settings.base, list(chosen["kinds"]))
    sets = [name for name in chosen["sets"] if name == "own" or settings.data is not None]
    if not sets:
        raise UserError("--set sets=[original] needs the reversal-curse data; give --data FOLDER, or sets=[own]")
    begins = begins_of(chosen, bases)
    exposure = {
        name: {kind: refuse_answered(load(path), people_of(name, settings.data, chosen))
               for kind, path in bases.items()}
        for name in sets
    } if bases else {}  # fmt: skip
    for name in sets:
        for own in begins:
            refuse_untrainable(start_of(settings.data, chosen, name, own), chosen, own)
    # A choice among other starts would be another one, made after the test was read.
    place = Workplace(settings, {**chosen, "bases": [Path(base).name for base in settings.base]}, "reversal", FREE)
    starts = {name: [material(place.out, settings.data, chosen, name, own) for own in begins] for name in sets}
    for name in sets:
        if line := skipped_in_words(starts[name][0].people.skipped):
            say(f"{name}: {line}")

    kinds: list[str] = chosen["kinds"]
    everything = [origin for name in sets for origin in starts[name]]
    recipes = {
        label(origin, kind, seed): recipe(origin, chosen, kind, seed)
        for kind in kinds for origin in everything for seed in settings.seeds  # the long ones first
    }  # fmt: skip
    runs = place.train(recipes)
    if settings.until == "runs":
        return {}
    first = settings.seeds[0]
    choices = {name: choose({
        origin.name: {kind: choice_of(place, origin, chosen, kind, runs[label(origin, kind, first)]) for kind in kinds}
        for origin in starts[name]
    }) for name in sets}  # fmt: skip
    late = chosen_late(place, choices)
    write_whole(place.out / CHOICE, json.dumps(choices, indent=1) + "\n")
    if settings.until == "choice":
        return {}
    tests = {
        origin.name: tested(place, origin, chosen, choices[origin.set]["choices"][origin.name], runs)
        for origin in everything
    }
    more = {"exposure": exposure, "chosen_late": late,
            "base_flops": {kind: pretraining(path).flops for kind, path in (bases or {}).items()}}  # fmt: skip
    return {**result_of(place, chosen, everything, choices, tests), **more}


def begins_of(chosen: Mapping[str, Any], bases: dict[str, str] | None) -> list[dict[str, str] | None]:
    """What runs start from: None, that is random weights, and the bases.

    Raises `UserError` where the settings leave none.
    """
    random: list[dict[str, str] | None] = [None] if "random" in chosen["starts"] else []
    begins = [*random, *([bases] if bases and "base" in chosen["starts"] else [])]
    if not begins:
        raise UserError("--set starts=[base] needs models to start from; give --base twice, or starts=[random]")
    return begins


def chosen_late(place: Workplace, choices: Mapping[str, Any]) -> bool:
    """Whether reversed questions had been asked in the folder before these choices were first made there."""
    path = place.out / EARLY
    # A folder of an earlier version has its last choice alone.
    known: Any = next((json.loads(one.read_text()) for one in (path, place.out / CHOICE) if one.is_file()), [])
    early, now = (known if isinstance(known, list) else [known]), json.loads(json.dumps(choices))
    if any((place.out / KEPT).glob("answers-*-reversed-*")):
        return now not in early
    write_whole(path, json.dumps([*(one for one in early if one != now), now]) + "\n")
    return False


def label(origin: Material, kind: str, seed: int) -> str:
    return f"{kind}-{origin.name}-{seed}"


def tested(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], choices: Mapping[str, Any], runs: Mapping[str, Path]
) -> dict[str, Any]:
    """Figures and curves of each kind of model on one set, from one start."""
    by_kind: dict[str, Any] = {}
    for kind, way in choices.items():
        seeds = place.settings.seeds
        folders = [runs[label(origin, kind, seed)] for seed in seeds]
        answers = [answers_of(place, origin, chosen, folder, way) for folder in folders]
        trained = [place.trained(label(origin, kind, seed)) for seed in seeds]
        by_kind[kind] = {
            "figures": {direction: figures_of([answer[direction] for answer in answers]) for direction in DIRECTIONS},
            "at_guidance": guided(place, origin, chosen, folders, way) if kind == "mdm" else {},
            "curve": curve(place, origin, chosen, kind, folders[0], way),
            "steps": trained[0]["steps"],
            "tokens": trained[0]["tokens"],
            "flops": trained[0]["flops"],
            "seconds": [round(run["seconds"]) for run in trained],
        }
    return by_kind


def guided(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], runs: list[Path], choice: Mapping[str, Any]
) -> dict[str, Any]:
    """Names right by guidance and direction, all else as it was chosen."""
    found = at_guidance(place, origin, chosen, runs, dict(choice))
    return {
        w: {direction: {"name_accuracy": clustered(rows_S, "exact")} for direction, rows_S in directions.items()}
        for w, directions in found.items()
    }


def clustered(rows_S: list[list[dict[str, Any]]], key: str) -> dict[str, Any]:
    """The mean of a value over rows of several seeds on the same items, in the same order."""
    return estimates.clustered([[row[key] for row in rows] for rows in rows_S], [row["person"] for row in rows_S[0]])


def figures_of(answers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of one direction: answers of each seed to the same questions, in the same order."""
    by_name = {}
    for asks in answers[0]:
        rows_S = [answer[asks]["rows"] for answer in answers]
        for name in [key for key, value in rows_S[0][0].items() if isinstance(value, float)]:
            by_name[f"{asks}_accuracy" if name == "exact" else f"{asks}_{name}"] = clustered(rows_S, name)
        people = [row["person"] for row in rows_S[0]]
        by_name[f"{asks}_shuffled"] = estimates.clustered([answer[asks]["shuffled"] for answer in answers], people)
        if asks == "name":
            ranks_S = [answer[asks]["ranking"] for answer in answers]
            by_name |= {f"name_{key}": clustered(ranks_S, key) for key in ranks_S[0][0] if key != "person"}
    return by_name


def result_of(
    place: Workplace,
    chosen: Mapping[str, Any],
    materials: list[Material],
    choices: Mapping[str, Any],
    tests: Mapping[str, Any],
) -> dict[str, Any]:
    """The headline is of the start that was chosen for both kinds of model; the others stand under `starts`."""
    by_start = {
        origin.name: {kind: part["figures"] for kind, part in tests[origin.name].items()} for origin in materials
    }
    headline, others = arranged(choices, by_start)
    facts = {
        origin.name: {
            "people": len({question.person for question in origin.people.questions}),
            "lines": len(origin.lines),
            "row": origin.length,
            "name_tokens": origin.name_tokens,
            "sayable": {direction: sayable(origin.people, direction) for direction in DIRECTIONS},
            "skipped": {why: len(rows) for why, rows in origin.people.skipped.items()},
        }
        for origin in materials
    }
    runs = {
        name: {kind: {key: value for key, value in part.items() if key != "figures"} for kind, part in kinds.items()}
        for name, kinds in tests.items()
    }
    return {"headline": headline, "starts": others, "choices": choices, "material": facts, "runs": runs,
            "ablation": chosen["ablation"], "chosen": dict(chosen), "times": place.times()}  # fmt: skip
