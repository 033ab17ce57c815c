"""Which type a sweep trains in, which shapes are compiled, and how long each run will take: by measuring every shape.

    spec, runs = measured(spec, facts, runs, seconds=20)

`training/fastest.py` measures real steps of a shape in every way there is. One type serves the whole sweep and both
objectives, since types differ in their noise: the one in which all runs together take least. Compiling is free by
shape.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace

from unmask.errors import UserError
from unmask.scaling.parts import Spec
from unmask.scaling.runs import PlannedRun
from unmask.scaling.status import START
from unmask.terminal import say
from unmask.training.fastest import Arm, fastest

Key = tuple[str, str]  # objective, size


def measured(spec: Spec, runs: list[PlannedRun], seconds: float) -> tuple[Spec, list[PlannedRun]]:
    """With the type where it was `auto`, and the expected seconds of each run.

    seconds: for which each shape is measured. Raises `UserError` where the plan has no data to measure on.
    """
    if not spec.data:
        raise UserError("--seconds measures real steps, which needs data; give --data FOLDER")
    groups: dict[Key, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault((run.objective, run.size), []).append(run)
    arms = {}
    for key, members in groups.items():
        middle = sorted(members, key=lambda run: run.batch)[len(members) // 2]
        tokens = statistics.median(run.tokens for run in members)
        # Only steps are timed: no run folder is made.
        recipe = replace(middle, precision="fp32", trunk=None).recipe_for(
            spec.data, os.path.join(spec.data, ".unused"), spec.threads
        )
        search = fastest(recipe, spec.jobs * spec.threads, seconds, total_tokens=tokens, say=say)
        arms[key] = layout(search.arms, spec)
    if spec.precision == "auto":
        spec = replace(spec, precision=best_type(runs, arms))
    return spec, [timed(spec, run, arms[run.objective, run.size]) for run in runs]


def layout(arms: Sequence[Arm], spec: Spec) -> list[Arm]:
    """Those of the plan's processes and threads."""
    return [
        arm for arm in arms if (arm.processes, arm.threads) == (spec.jobs, spec.threads) and arm.tokens_per_second
    ]  # fmt: skip


def best_type(runs: Sequence[PlannedRun], arms: dict[Key, list[Arm]]) -> str:
    """The type in which all runs together take least."""
    shared = set.intersection(*({arm.precision for arm in several} for several in arms.values()))

    def total(precision: str) -> float:
        own = {key: [arm for arm in several if arm.precision == precision] for key, several in arms.items()}
        return sum(
            min(arm.run_seconds(run.tokens * run.own_share) for arm in own[run.objective, run.size]) for run in runs
        )

    return min(sorted(shared), key=total)


def timed(spec: Spec, run: PlannedRun, arms: Sequence[Arm]) -> PlannedRun:
    """The run compiled or not, as is faster for its length unless the plan says, and its seconds with its score's."""
    precision = spec.precision if run.precision == "auto" else run.precision
    own = [arm for arm in arms if arm.precision == precision and spec.compile in (None, arm.compile)]
    if not own:
        return replace(run, precision=precision)
    tokens = run.tokens * run.own_share
    best = min(own, key=lambda arm: arm.run_seconds(tokens))
    rate = best.tokens_per_second / best.processes
    passes = spec.scoring.sequences * (spec.context - 1) * (spec.scoring.draws if run.objective == "mdm" else 1)
    passes = 0 if run.is_trunk else passes  # a trunk is not scored
    seconds = START + best.starts + tokens / rate + passes / (3 * rate)
    return replace(run, precision=precision, compile=best.compile, seconds=round(seconds, 1))
