"""What trained models are asked, and when: first the choice on people with both kinds of line, then the test.

    choice = choose(place, one, chosen, "mdm", folders)        # written down before any reversed question is asked
    answers = answers_of(place, one, chosen, "mdm", 0, folder, choice)

A choice is of checkpoint, order and guidance, by the mean share of exact answers to the `both` people's questions (half
of them names, half descriptions), of the first seed's run: first order and guidance at the last checkpoint, then the
checkpoint. An autoregressive model has but its checkpoints.
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
from unmask.model.folder import load
from unmask.training.record import read_record

Choice = dict[str, Any]  # start (a material's name), checkpoint (its step), order, guidance


def ways(chosen: Mapping[str, Any], kind: str) -> list[tuple[str, float]]:
    """Orders and guidances to try."""
    if kind == "arm":
        return [("left-to-right", 0.0)]
    grid = chosen["grid"]
    return [(str(order), float(w)) for order, w in itertools.product(grid["order"], grid["guidance"])]


def steps_of(run: Path) -> list[int]:
    """Of the checkpoints that the recipe names, oldest first; where a run was stopped on its way there may be more."""
    record = read_record(run)
    assert record is not None, "a finished run"
    return sorted(record.settings["checkpoint"]["at"])


def asked(
    place: Workplace, start: Material, run: Path, step: int, direction: str, asks: str, each: int, **way: Any
) -> Any:
    """The answers of a checkpoint to a kind of question; kept."""
    words = "-".join(str(value) for value in (run.name, step, direction, asks, each, *way.values()))

    def make() -> list[dict[str, Any]]:
        torch.set_num_threads(place.settings.threads)
        model = load(folder_of(run, step), place.settings.device)
        return ask(model, start.people.of(direction, asks, each), start.length, **way)

    return place.kept(f"answers-{words}", make, length=start.length)


def folder_of(run: Path, step: int) -> Path:
    return next(folder for folder in checkpoints(run) if int(folder.name.removeprefix("step-")) == step)


def score_of(place: Workplace, start: Material, run: Path, step: int, each: int, way: tuple[str, float]) -> float:
    """The share of exact answers of the `both` people."""
    order, guidance = way
    shares = []
    for asks in ASKED:
        rows = asked(place, start, run, step, "both", asks, each, order=order, guidance=guidance)
        shares.append(sum(row["exact"] for row in rows) / len(rows))
    return sum(shares) / len(shares)


def choose(
    place: Workplace, starts: Sequence[Material], chosen: Mapping[str, Any], kind: str, runs: Mapping[str, Path]
) -> dict[str, Any]:
    """The choice among starts, checkpoints, orders and guidances, with what each that was tried has scored.

    runs: the first seed's run of each start, by the start's name.
    """

    def make() -> dict[str, Any]:
        each, tried = int(chosen["grid"]["each"]), []
        for start in starts:
            run = runs[start.name]
            steps = steps_of(run)

            def score(step: int, way: tuple[str, float], start: Material = start, run: Path = run) -> float:
                value = score_of(place, start, run, step, each, way)
                row = {"start": start.name, "checkpoint": step, "order": way[0], "guidance": way[1], "exact": value}
                tried.append(row)
                return value

            best = max(ways(chosen, kind), key=lambda way: score(steps[-1], way))  # noqa: B023 - called at once
            for step in steps[:-1]:
                score(step, best)
        # Among equals the later checkpoint, and the rule that was named first.
        best_found = max(tried, key=lambda row: (row["exact"], row["checkpoint"]))
        return {"choice": {key: value for key, value in best_found.items() if key != "exact"}, "tried": tried}

    choice: dict[str, Any] = place.kept(f"choice-{starts[0].set}-{kind}", make, grid=chosen["grid"])
    return choice


def answers_of(
    place: Workplace, start: Material, chosen: Mapping[str, Any], kind: str, run: Path, choice: Choice
) -> dict[str, dict[str, Any]]:
    """The test of one run: rows of every direction and kind of question, rankings of names with them."""
    steps = steps_of(run)
    step = min(steps, key=lambda there: abs(there - choice["checkpoint"]))
    way = {"order": choice["order"], "guidance": choice["guidance"]}
    answers: dict[str, dict[str, Any]] = {}
    for direction in DIRECTIONS:
        answers[direction] = {}
        for asks in ASKED:
            rows = asked(place, start, run, step, direction, asks, int(chosen["each"]), **way)
            answers[direction][asks] = {"rows": rows, "shuffled": shuffled(rows)}
        answers[direction]["name"]["ranking"] = rankings(place, start, chosen, run, step, direction)
    return answers


def rankings(place: Workplace, start: Material, chosen: Mapping[str, Any], run: Path, step: int, direction: str) -> Any:
    """For each question for a name, the share of random names that are less likely than the true one; kept."""

    def make() -> list[float]:
        torch.set_num_threads(place.settings.threads)
        model = load(folder_of(run, step), place.settings.device)
        questions = start.people.of(direction, "name", int(chosen["each"]))
        return ranked(model, questions, start.length, int(chosen["others"]))

    return place.kept(f"ranking-{run.name}-{step}-{direction}", make, length=start.length, others=chosen["others"])


def curve(
    place: Workplace, start: Material, chosen: Mapping[str, Any], kind: str, run: Path, choice: Choice
) -> list[dict[str, Any]]:
    """Names right in both directions at every checkpoint, and with every guidance at the chosen one; after the test."""
    each, measured = int(chosen["grid"]["each"]), []
    points = [(step, choice["guidance"]) for step in steps_of(run)]
    if kind == "mdm":
        points += [(choice["checkpoint"], w) for w in chosen["grid"]["guidance"] if w != choice["guidance"]]
    for step, guidance in points:
        point: dict[str, Any] = {"checkpoint": step, "guidance": guidance}
        for direction in ("trained", "reversed"):
            way = {"order": choice["order"], "guidance": float(guidance)}
            rows = asked(place, start, run, step, direction, "name", each, **way)
            point[direction] = sum(row["exact"] for row in rows) / len(rows)
        measured.append(point)
    return measured
