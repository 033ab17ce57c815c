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
from unmask.scaling.status import in_words, standing
from unmask.scaling.sweep import Sweep

__all__ = ["in_words", "run"]

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
        for planned in chosen:
            sweep.forgive(planned.name)
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
            if not any(_means(pattern, planned) for planned in chosen):
                raise UserError(f"--only {pattern} is no run and no part of {options.plan}; give a name, or 'arm-*'")
        chosen = [planned for planned in chosen if any(_means(pattern, planned) for pattern in options.only)]
    if options.shard is not None:
        i, n = shard_of(options.shard)
        families = list(dict.fromkeys(planned.trunk or planned.name for planned in chosen))[i - 1 :: n]
        chosen = [planned for planned in chosen if (planned.trunk or planned.name) in families]
    names = {planned.name for planned in chosen} | {planned.trunk for planned in chosen}
    return [planned for planned in plan.runs if planned.name in names]


def _means(pattern: str, planned: PlannedRun) -> bool:
    return fnmatch.fnmatchcase(planned.name, pattern) or fnmatch.fnmatchcase(planned.part, pattern)


def refuse_missing_type(chosen: list[PlannedRun], precision: str | None) -> None:
    wanted = {precision or planned.precision for planned in chosen}
    if lacking := [name for name in sorted(wanted) if not has_type(name)]:
        raise UserError(
            f"the plan trains in {lacking[0]}, which this processor does not have; add --precision fp32 to go on in "
            "fp32 (those rows are marked), or run it elsewhere"
        )
