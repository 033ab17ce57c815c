"""The training runs of a corpus, and what its tests cost at the points of each: checkpoints at stated tokens.

    runs = planned("speeches", 0, texts, own)                    # the MDM's and the ARM's of seed 0
    place.train({run.name: run.recipe for run in longest_first(runs)})
    scored = scores(place, runs, {"speeches": texts}, own)       # {run: Scored}

The points of a kind are rising numbers of tokens, so that both kinds' losses can be laid over each other: an MDM needs
some thirty times the ARM's. Where text is so short that it would be read more often than `most_epochs` allows, all of a
kind's points shrink by one factor. An MDM has one point more, at the FLOPs of the ARM's last.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.data.manifest import Manifest
from unmask.errors import UserError
from unmask.evaluation.temporal import score_documents
from unmask.experiments.temporal.analysis import Points
from unmask.experiments.temporal.folders import Texts, read_tests
from unmask.experiments.workplace import Ask, Workplace
from unmask.files import file_sha256
from unmask.model.checkpoints import checkpoints, step_of
from unmask.model.flops import training_flops_per_token
from unmask.model.folder import WEIGHTS, load
from unmask.terminal import say
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import model_config

KINDS = ("mdm", "arm")
BITS = float(np.log(2))


@dataclass(frozen=True)
class Planned:
    """A training run. points: the steps that are compared; equal: the step at the ARM's last FLOPs, of an MDM."""

    corpus: str
    kind: str
    seed: int
    recipe: dict[str, Any]
    points: tuple[int, ...]
    equal: int | None
    flops_per_step: float
    epochs: float

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.kind}-{self.seed}"

    @property
    def steps(self) -> list[int]:
        """All that are scored."""
        return sorted({*self.points, *([] if self.equal is None else [self.equal])})


@dataclass(frozen=True)
class Scored:
    """A run's points, and that at the FLOPs of the ARM's last one where there is one."""

    points: Points
    equal: Points | None


def check_points(own: Mapping[str, Any]) -> None:
    """Raises `UserError` where the points of a kind are no rising numbers of tokens."""
    for kind in KINDS:
        points = own[kind]["points"]
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in points)
        if not numbers or len(points) < 2 or any(a >= b for a, b in itertools.pairwise(points)):
            raise UserError(f"{kind}.points is {points}; give two numbers of tokens or more, each above the one before")


def planned(corpus: str, seed: int, texts: Texts, own: Mapping[str, Any]) -> list[Planned]:
    """The two runs of a seed, the MDM's first. Raises `UserError` where two points fall on one step."""
    arm = plan(corpus, "arm", seed, texts, own)
    return [plan(corpus, "mdm", seed, texts, own, arm.flops_per_step * arm.points[-1]), arm]


def plan(
    corpus: str, kind: str, seed: int, texts: Texts, own: Mapping[str, Any], flops: float | None = None
) -> Planned:
    """One of them. flops: where to save once more, if the run comes so far."""
    data = Manifest.load(texts.tokens)
    there = data.splits["train"].tokens
    recipe: dict[str, Any] = {**own["recipe"], "data": str(texts.tokens), "seed": seed}
    for name, value in own[kind].items():
        if name != "points":
            recipe[name] = {**recipe.get(name, {}), **value} if isinstance(value, Mapping) else value
    recipe["objective"] = {**recipe["objective"], "kind": kind}
    tokens = recipe["context"] * recipe["batch_size"]
    points = steps_of(own[kind]["points"], own["most_epochs"] * there, tokens, kind)
    steps = points[-1]
    recipe["steps"] = steps
    recipe["optimizer"] = {**recipe["optimizer"], "warmup": round(own["warmup"] * steps)}
    whole = build(Recipe, {**recipe, "out": "unused"}, "")
    config = model_config(whole, data.vocab_size, None)
    share = whole.objective.head_share(whole.context)
    per_step = tokens * training_flops_per_token(config, whole.context, share, whole.flops_rule)
    equal = None if flops is None else max(1, round(flops / per_step))
    equal = equal if equal is not None and equal <= steps else None
    recipe["checkpoint"] = {"at": sorted({*points, *([] if equal is None else [equal])}), "keep": 1}
    return Planned(corpus, kind, seed, recipe, points, equal, per_step, steps * tokens / there)


def steps_of(points: Sequence[float], most: float, tokens: int, kind: str) -> tuple[int, ...]:
    """The steps of so many tokens each at which points lie, all of them shrunk where the last is beyond `most`."""
    shrunk = min(1.0, most / points[-1])
    steps = tuple(max(1, round(point * shrunk / tokens)) for point in points)
    for (low, step), (high, following) in itertools.pairwise(zip(points, steps, strict=True)):
        if step == following:
            raise UserError(f"{kind}.points: {low:g} and {high:g} tokens fall on one step of {tokens}; lay them apart")
    return steps


def longest_first(runs: Iterable[Planned]) -> list[Planned]:
    """So that no processor waits long for the last run; equal ones in the order given."""
    return sorted(runs, key=lambda run: -run.flops_per_step * run.recipe["steps"])


# ---------------------------------------------------------------------- scoring


def scores(
    place: Workplace, runs: Sequence[Planned], texts: Mapping[str, Texts], own: Mapping[str, Any]
) -> dict[str, Scored]:
    """The tests' bits at each point of each run, kept point by point and scored by `jobs` processes; nan where a text
    is too short. Raises `UserError` where a run lacks a checkpoint."""
    asks = {}
    for run in runs:
        where = texts[run.corpus]
        for step, path in saved(place.out / "runs" / run.name, run.steps).items():
            given = (str(path), str(where.tests_file), own["windows"], own["draws"], place.settings.threads,
                     place.settings.device, f"{run.name}: step {step}")  # fmt: skip
            facts = {"weights": file_sha256(path / WEIGHTS), "texts": where.tests_sum}
            asks[point_name(run, step)] = Ask(given, facts)
    rows = place.kept_each(score_point, asks)
    return {run.name: scored(run, rows) for run in runs}


def saved(folder: Path, steps: Sequence[int]) -> dict[int, Path]:
    """The checkpoints of a run by step. Raises `UserError` naming those of the steps that are not there."""
    there = {step_of(path.name): path for path in checkpoints(folder)}
    if missing := [str(step) for step in steps if step not in there]:
        raise UserError(f"{folder} lacks the checkpoints of steps {', '.join(missing)}; give another --out")
    return {step: there[step] for step in steps}


def point_name(run: Planned, step: int) -> str:
    return f"{run.name}-{step}"


def score_point(
    path: str, tests: str, windows: int, draws: int, threads: int, device: str, name: str
) -> list[list[float] | None]:
    """Bits and bytes of each test under a checkpoint; None where a text is too short."""
    torch.set_num_threads(threads)
    texts = [test.text for test in read_tests(Path(tests))]
    say(f"temporal: {name}: scoring {len(texts)} texts")
    found = score_documents(load(path, device), texts, windows, draws)
    return [None if one is None else [one.nats / BITS, one.n_bytes] for one in found]


def scored(run: Planned, rows: Mapping[str, Sequence[Sequence[float] | None]]) -> Scored:
    def points(steps: Sequence[int]) -> Points:
        of_steps = [rows[point_name(run, step)] for step in steps]
        bits = np.array([[np.nan if row is None else row[0] for row in one] for one in of_steps])
        n_bytes = np.array([np.nan if row is None else row[1] for row in of_steps[0]])
        return Points(bits, np.array([run.flops_per_step * step for step in steps]), n_bytes)

    return Scored(points(run.points), None if run.equal is None else points([run.equal]))
