"""Runs a plan: every run a process of its own, skipped when finished, resumed when cut, set aside when it failed.

    unmask scale run plan.yaml --out sweep
    unmask scale run plan.yaml --out sweep --jobs 2 --threads 1 --only 'arm-*'
    unmask scale run plan.yaml --out sweep --shard 3/8          # in a job array, all on one disk
    unmask scale run plan.yaml --out sweep --ray                # over a Ray cluster (cluster.py)

It may be stopped (Ctrl-C, SIGTERM: children save) or killed at any moment and started again; several may work on one
sweep at once, since a run is claimed by a lock. Rows of finished runs are appended to results.jsonl.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from unmask.errors import UserError
from unmask.scaling.machine import has_type
from unmask.scaling.options import RunOptions, shard_of
from unmask.scaling.plan_file import Plan, read_plan
from unmask.scaling.runner import Runner
from unmask.scaling.runs import PlannedRun
from unmask.scaling.status import in_words as standing_in_words
from unmask.scaling.status import standing
from unmask.scaling.sweep import Sweep


def run(options: RunOptions) -> dict[str, Any]:
    """Works until all that is chosen is done, failed or in other hands; the standing, and the `signal` that ended it.

    Raises `UserError` for a plan that cannot be read, another plan's folder, and a type that this machine lacks.
    """
    plan = read_plan(options.plan, options.data)
    chosen = choose(plan, options)
    if not options.ray:  # there each machine says for itself
        refuse_missing_type(chosen, options.precision)
    sweep = Sweep.open(options.out, plan)
    if options.retry:
        for one in chosen:
            sweep.forgive(one.name)
    with runner_of(sweep, options) as runner:
        runner.work(chosen)
    return {**standing(sweep), "signal": runner.signal}


def runner_of(sweep: Sweep, options: RunOptions) -> Runner:
    if not options.ray:
        return Runner(sweep, options)
    from unmask.scaling.cluster import ClusterRunner  # Ray is an extra

    return ClusterRunner(sweep, options)


def choose(plan: Plan, options: RunOptions) -> list[PlannedRun]:
    """Those of `--only` and `--shard`, with the trunks of their branches; a trunk's family is in one shard.

    Raises `UserError` where a pattern means no run.
    """
    chosen = plan.runs
    if options.only:
        for pattern in options.only:
            if not any(_means(pattern, one) for one in chosen):
                raise UserError(f"--only {pattern} is no run and no part of {options.plan}; give a name, or 'arm-*'")
        chosen = [one for one in chosen if any(_means(pattern, one) for pattern in options.only)]
    if options.shard is not None:
        i, n = shard_of(options.shard)
        families = list(dict.fromkeys(one.trunk or one.name for one in chosen))[i - 1 :: n]
        chosen = [one for one in chosen if (one.trunk or one.name) in families]
    names = {one.name for one in chosen} | {one.trunk for one in chosen}
    return [one for one in plan.runs if one.name in names]


def _means(pattern: str, one: PlannedRun) -> bool:
    return fnmatch.fnmatchcase(one.name, pattern) or fnmatch.fnmatchcase(one.part, pattern)


def refuse_missing_type(chosen: list[PlannedRun], precision: str | None) -> None:
    wanted = {precision or one.precision for one in chosen}
    if lacking := [name for name in sorted(wanted) if not has_type(name)]:
        raise UserError(
            f"the plan trains in {lacking[0]}, which this processor does not have; add --precision fp32 to go on in "
            "fp32 (those rows are marked), or run it elsewhere"
        )


def in_words(progress: dict[str, Any]) -> str:
    """The standing, for people."""
    return standing_in_words(progress)
