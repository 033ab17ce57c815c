"""What trained models are asked, and when: first the choice on people with both kinds of line, then the test.

    choice = choice_of(place, origin, chosen, "mdm", run)   # on the people with both kinds of line
    choices = choose({"own": {"mdm": choice, "arm": more}}) # written down before any reversed question is asked
    answers = answers_of(place, origin, chosen, run, choice)

A choice is of the first seed's run: one checkpoint, and for names and for descriptions each their own order, guidance
and steps. What counts is the share of right answers of the `both` people: exact names, bare descriptions (without
quotes and stops at their ends). First order and guidance at the last checkpoint, then steps, then the checkpoint, each
by the best; among equals what stands first in the grid, as the least guidance does. An autoregressive model has but its
checkpoints. Where there are several starts (random weights, a base), both kinds of model begin at the same one: that
whose choices score more, taken together.

Stages are kept by what they use, a checkpoint's weights and the questions, so that other grids go on in one folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from unmask.evaluation.request_store import request_key
from unmask.evaluation.reversal.answers import ask, forms_of, in_any_form, ranked, shuffled
from unmask.evaluation.reversal.questions import ASKED, DIRECTIONS, Question
from unmask.evaluation.reversal.task import PAPER
from unmask.experiments.reversal.material import Material
from unmask.experiments.workplace import Workplace
from unmask.files import file_sha256
from unmask.model.checkpoints import checkpoints
from unmask.model.folder import WEIGHTS, Model, load
from unmask.training.record import read_record

Way = dict[str, Any]  # order, guidance, steps (None: a token a pass), blind (what guidance hides)
Choice = dict[str, Any]  # checkpoint (its step), score, name and description (their ways), tried
SCORE = {"name": "exact", "description": "bare"}


def ways(chosen: Mapping[str, Any], kind: str) -> list[Way]:
    """Orders and guidances to try."""
    if kind == "arm":
        return [{"order": "left-to-right", "guidance": 0.0, "steps": None, "blind": "prompt"}]
    grid = chosen["grid"]
    return [
        {"order": str(order), "guidance": float(w), "steps": None, "blind": chosen["blind"]}
        for order, w in itertools.product(grid["order"], grid["guidance"])
    ]


def steps_of(run: Path) -> list[int]:
    """Of the checkpoints that the recipe names, oldest first; where a run was stopped on its way there may be more."""
    record = read_record(run)
    assert record is not None, "a finished run"
    return sorted(record.settings["checkpoint"]["at"])


def checkpoint_at(run: Path, step: int) -> Path:
    return next(folder for folder in checkpoints(run) if int(folder.name.removeprefix("step-")) == step)


def used(origin: Material, run: Path, step: int, questions: Sequence[Question]) -> dict[str, Any]:
    """What answers depend on beside the way of asking."""
    told = request_key([[question.prompt, question.answer, question.subject] for question in questions])
    weights = file_sha256(checkpoint_at(run, step) / WEIGHTS)
    return {"length": origin.length, "weights": weights, "questions": told}


def asked(
    place: Workplace, origin: Material, run: Path, step: int, direction: str, asks: str, each: int, **way: Any
) -> Any:
    """The answers of a checkpoint to a kind of question; kept."""
    words = "-".join(str(value) for value in (run.name, step, direction, asks, each, *way.values()))
    questions = origin.people.of(direction, asks, each)

    def make() -> list[dict[str, Any]]:
        return ask(model_at(place, run, step), questions, origin.length, **way)

    return place.kept(f"answers-{words}", make, **used(origin, run, step, questions))


def model_at(place: Workplace, run: Path, step: int) -> Model:
    """A run's model at one of its checkpoints; PyTorch uses as many threads as the settings say from here on."""
    torch.set_num_threads(place.settings.threads)
    return load(checkpoint_at(run, step), place.settings.device)


def share(rows: Sequence[Mapping[str, Any]], key: str = "exact") -> float:
    return float(sum(row[key] for row in rows) / len(rows))


def asked_about(origin: Material, direction: str) -> list[str]:
    """Names, descriptions or both: a control may leave a direction nobody."""
    return [asks for asks in ASKED if origin.people.of(direction, asks, 1)]


def choice_of(place: Workplace, origin: Material, chosen: Mapping[str, Any], kind: str, run: Path) -> Choice:
    """What is chosen of one run, with all that was tried. Where nobody has both kinds of line, in the trained order."""
    each, at = int(chosen["grid"]["each"][origin.set]), steps_of(run)
    known = "both" if asked_about(origin, "both") else "trained"
    tried: list[dict[str, Any]] = []

    def score(step: int, asks: str, way: Way) -> float:
        rows = asked(place, origin, run, step, known, asks, each, **way)
        if (row := {"asks": asks, "checkpoint": step, **way, "score": share(rows, SCORE[asks])}) not in tried:
            tried.append(row)
        return float(row["score"])

    steps = chosen["grid"]["steps"] if kind == "mdm" else []
    best = {
        asks: best_way(lambda way, asks=asks: score(at[-1], asks, way), ways(chosen, kind), steps)  # type: ignore[misc]
        for asks in asked_about(origin, known)
    }
    scores = {step: sum(score(step, asks, way) for asks, way in best.items()) / len(best) for step in at}
    step = max(at, key=lambda step: (scores[step], step))  # among equals the later
    both = {asks: best.get(asks) or next(iter(best.values())) for asks in ASKED}
    return {"checkpoint": step, "score": scores[step], **both, "people": known, "tried": tried}


def best_way(score: Callable[[Way], float], ways: Sequence[Way], steps: Sequence[int]) -> Way:
    """The best of order and guidance, then of steps with it; among equals what is tried first."""
    way = max(ways, key=score)
    return max([way, *({**way, "steps": int(fewer)} for fewer in steps)], key=score)


def choose(made: Mapping[str, Mapping[str, Choice]]) -> dict[str, Any]:
    """From the choices by start and kind of model: {"start": its name, "choices": {start: {kind: choice}}}.

    Among equals random weights stand before a base, whatever order they come in.
    """
    start = max(sorted(made), key=lambda name: together_right(made[name]))
    return {"start": start, "choices": made}


def together_right(choices: Mapping[str, Choice]) -> float:
    """What the choices of one start score, by which starts are compared."""
    return round(sum(float(choice["score"]) for choice in choices.values()), 9)


def chosen_step(run: Path, choice: Choice) -> int:
    """A checkpoint of this run, as near as can be."""
    return min(steps_of(run), key=lambda there: abs(there - choice["checkpoint"]))


def answers_of(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], run: Path, choice: Choice
) -> dict[str, dict[str, Any]]:
    """The test of one run: rows of every direction and kind of question, rankings of names with them."""
    step, each = chosen_step(run, choice), int(chosen["each"][origin.set])
    answers: dict[str, dict[str, Any]] = {}
    forms = forms_of(origin.people)
    for direction in DIRECTIONS:
        answers[direction] = {}
        for asks in asked_about(origin, direction):
            rows = asked(place, origin, run, step, direction, asks, each, **choice[asks])
            if asks == "description":
                rows = [{**row, "any_form": in_any_form(row["person"], row["text"], forms)} for row in rows]
            answers[direction][asks] = {"rows": rows, "shuffled": shuffled(rows)}
        if "name" in answers[direction]:
            answers[direction]["name"]["ranking"] = rankings(place, origin, chosen, run, step, direction)
    return answers


def rankings(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], run: Path, step: int, direction: str
) -> Any:
    """How the true name stands among all others, for questions for a name; kept."""
    questions = origin.people.of(direction, "name", int(chosen["ranked"][origin.set]))
    people = sorted({question.person for question in origin.people.questions})

    def make() -> list[dict[str, Any]]:
        rows = ranked(model_at(place, run, step), questions, people, origin.length)
        return [{"person": question.person, **row} for question, row in zip(questions, rows, strict=True)]

    facts = {**used(origin, run, step, questions), "people": request_key(people)}
    return place.kept(f"ranking-{run.name}-{step}-{direction}", make, **facts)


def at_guidance(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], runs: Sequence[Path], choice: Choice
) -> dict[str, dict[str, list[Any]]]:
    """Rows of each run's answers to the test's questions for a name, by w (none, the paper's, the chosen one) and
    direction."""
    each, scales = int(chosen["each"][origin.set]), {0.0, float(PAPER["guidance"]), choice["name"]["guidance"]}
    return {
        f"{w:g}": {
            direction: [
                asked(place, origin, run, chosen_step(run, choice), direction, "name", each,
                      **{**choice["name"], "guidance": w})
                for run in runs
            ]
            for direction in DIRECTIONS if "name" in asked_about(origin, direction)
        }
        for w in sorted(scales)
    }  # fmt: skip


def curve(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], kind: str, run: Path, choice: Choice
) -> list[dict[str, Any]]:
    """Names right in both directions at every checkpoint, and with every guidance at the chosen one; after the test."""
    each, way, measured = int(chosen["grid"]["each"][origin.set]), choice["name"], []
    points = [(step, way["guidance"]) for step in steps_of(run)]
    if kind == "mdm":
        points += [(choice["checkpoint"], float(w)) for w in chosen["grid"]["guidance"] if w != way["guidance"]]
    for step, guidance in points:
        point: dict[str, Any] = {"checkpoint": step, "guidance": guidance}
        for direction in ("trained", "reversed"):
            if "name" in asked_about(origin, direction):
                rows = asked(place, origin, run, step, direction, "name", each, **{**way, "guidance": guidance})
                point[direction] = share(rows)
        measured.append(point)
    return measured
