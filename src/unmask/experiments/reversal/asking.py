"""What trained models are asked, and when: first the choice on people with both kinds of line, then the test.

    tried = try_ways(place, origin, chosen, "mdm", run)     # on the people with both kinds of line
    choices = choose({"own": {"mdm": tried, "arm": more}})  # written down before any reversed question is asked
    answers = answers_of(place, origin, chosen, run, choices["mdm"])

A choice is of checkpoint, order, guidance and steps, by the mean share of exact answers to the questions of the `both`
people (half of them names, half descriptions), of the first seed's run: first order and guidance at the last
checkpoint, then steps, then the checkpoint. An autoregressive model has but its checkpoints. Where there are several
starts (random weights, a base), both kinds of model begin at the same one: that whose choices score more, taken
together.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from unmask.evaluation.reversal.answers import ask, ranked, shuffled
from unmask.evaluation.reversal.questions import ASKED, DIRECTIONS
from unmask.experiments.reversal.material import Material
from unmask.experiments.workplace import Workplace
from unmask.model.checkpoints import checkpoints
from unmask.model.folder import Model, load
from unmask.training.record import read_record

Choice = dict[str, Any]  # checkpoint (its step), order, guidance, steps (None: a token a pass)
WAY = ("order", "guidance", "steps")


def ways(chosen: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Orders and guidances to try."""
    if kind == "arm":
        return [{"order": "left-to-right", "guidance": 0.0, "steps": None}]
    grid = chosen["grid"]
    return [
        {"order": str(order), "guidance": float(w), "steps": None}
        for order, w in itertools.product(grid["order"], grid["guidance"])
    ]


def steps_of(run: Path) -> list[int]:
    """Of the checkpoints that the recipe names, oldest first; where a run was stopped on its way there may be more."""
    record = read_record(run)
    assert record is not None, "a finished run"
    return sorted(record.settings["checkpoint"]["at"])


def asked(
    place: Workplace, origin: Material, run: Path, step: int, direction: str, asks: str, each: int, **way: Any
) -> Any:
    """The answers of a checkpoint to a kind of question; kept."""
    words = "-".join(str(value) for value in (run.name, step, direction, asks, each, *way.values()))

    def make() -> list[dict[str, Any]]:
        return ask(model_at(place, run, step), origin.people.of(direction, asks, each), origin.length, **way)

    return place.kept(f"answers-{words}", make, length=origin.length)


def model_at(place: Workplace, run: Path, step: int) -> Model:
    """A run's model at one of its checkpoints; PyTorch uses as many threads as the settings say from here on."""
    torch.set_num_threads(place.settings.threads)
    folder = next(folder for folder in checkpoints(run) if int(folder.name.removeprefix("step-")) == step)
    return load(folder, place.settings.device)


def score_of(place: Workplace, origin: Material, run: Path, step: int, each: int, way: Mapping[str, Any]) -> float:
    """The share of exact answers of the `both` people."""
    shares = [exact_share(asked(place, origin, run, step, "both", asks, each, **way)) for asks in ASKED]
    return sum(shares) / len(shares)


def exact_share(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(row["exact"] for row in rows) / len(rows))


def try_ways(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], kind: str, run: Path
) -> list[dict[str, Any]]:
    """Every choice that was tried on the first seed's run, with its share of exact answers; kept."""

    def make() -> list[dict[str, Any]]:
        each, last = int(chosen["grid"]["each"]), steps_of(run)[-1]
        tried: list[dict[str, Any]] = []

        def score(step: int, way: Mapping[str, Any]) -> float:
            exact = score_of(place, origin, run, step, each, way)
            tried.append({"checkpoint": step, **way, "exact": exact})
            return exact

        best = max(ways(chosen, kind), key=lambda way: score(last, way))
        fewer = [{**best, "steps": int(steps)} for steps in chosen["grid"]["steps"]] if kind == "mdm" else []
        for way in fewer:
            score(last, way)
        best = {name: best_of(tried)[name] for name in WAY}
        for step in steps_of(run)[:-1]:
            score(step, best)
        return tried

    tried: list[dict[str, Any]] = place.kept(f"tried-{origin.name}-{kind}", make, grid=chosen["grid"])
    return tried


def best_of(tried: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Among equals the later checkpoint, and the rule that was tried first."""
    return max(tried, key=lambda row: (row["exact"], row["checkpoint"]))


def choose(tried: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """From what was tried, by start and kind of model: {"start": its name, "choices": {start: {kind: choice}}}."""
    choices = {start: {kind: dict(best_of(rows)) for kind, rows in kinds.items()} for start, kinds in tried.items()}
    start = max(choices, key=lambda name: sum(choice["exact"] for choice in choices[name].values()))
    return {"start": start, "choices": choices}


def answers_of(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], run: Path, choice: Choice
) -> dict[str, dict[str, Any]]:
    """The test of one run: rows of every direction and kind of question, rankings of names with them."""
    steps = steps_of(run)
    step = min(steps, key=lambda there: abs(there - choice["checkpoint"]))
    way = {name: choice[name] for name in WAY}
    answers: dict[str, dict[str, Any]] = {}
    for direction in DIRECTIONS:
        answers[direction] = {}
        for asks in ASKED:
            rows = asked(place, origin, run, step, direction, asks, int(chosen["each"]), **way)
            answers[direction][asks] = {"rows": rows, "shuffled": shuffled(rows)}
        answers[direction]["name"]["ranking"] = rankings(place, origin, chosen, run, step, direction)
    return answers


def rankings(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], run: Path, step: int, direction: str
) -> Any:
    """For each question for a name, the share of random names that are less likely than the true one; kept."""

    def make() -> list[float]:
        questions = origin.people.of(direction, "name", int(chosen["each"]))
        return ranked(model_at(place, run, step), questions, origin.length, int(chosen["others"]))

    return place.kept(f"ranking-{run.name}-{step}-{direction}", make, length=origin.length, others=chosen["others"])


def curve(
    place: Workplace, origin: Material, chosen: Mapping[str, Any], kind: str, run: Path, choice: Choice
) -> list[dict[str, Any]]:
    """Names right in both directions at every checkpoint, and with every guidance at the chosen one; after the test."""
    each, measured = int(chosen["grid"]["each"]), []
    points = [(step, choice["guidance"]) for step in steps_of(run)]
    if kind == "mdm":
        points += [(choice["checkpoint"], w) for w in chosen["grid"]["guidance"] if w != choice["guidance"]]
    for step, guidance in points:
        point: dict[str, Any] = {"checkpoint": step, "guidance": guidance}
        for direction in ("trained", "reversed"):
            way = {name: choice[name] for name in WAY} | {"guidance": float(guidance)}
            point[direction] = exact_share(asked(place, origin, run, step, direction, "name", each, **way))
        measured.append(point)
    return measured
