"""Where a sweep stands: what is done, running, failed, cut, waiting, and the hours that are left.

unmask scale status PLAN --out SWEEP
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from unmask.files import parse_json
from unmask.scaling.options import StatusOptions
from unmask.scaling.plan_file import read_plan
from unmask.scaling.runs import PlannedRun
from unmask.scaling.sweep import STATES, Sweep

START = 8.0  # seconds of a run's two processes before their first step
TAIL = 8192  # bytes of a metrics file that hold its last line


def status(options: StatusOptions) -> dict[str, Any]:
    """Raises `UserError` where the folder is another plan's sweep, or none."""
    return standing(Sweep.open(options.out, read_plan(options.plan, options.data), make=False))


def standing(sweep: Sweep) -> dict[str, Any]:
    """JSON values: counts by state, what runs and how far it is, what failed and why, hours left at the plan's jobs."""
    states, rows, runs = sweep.states(), sweep.rows(), sweep.plan.runs
    counts = {state: list(states.values()).count(state) for state in STATES}
    running: list[dict[str, Any]] = [
        {"name": run.name, "step": int(last_record(sweep.folder(run.name)).get("step", 0)), "steps": run.steps}
        for run in runs
        if states[run.name] == "running"
    ]
    left = seconds_left(runs, states, rows, {item["name"]: item["step"] for item in running})
    of_trunks = sum(last_record(sweep.folder(run.name)).get("seconds", 0) for run in runs if run.is_trunk)
    failed = {name: sweep.failure(name) for name, state in states.items() if state == "failed"}
    return {
        "sweep": str(sweep.path),
        "runs": len(runs),
        **counts,
        "in_hand": running,
        "failures": failed,
        "cuts": [name for name, state in states.items() if state == "cut"],
        "marked": [name for name, row in rows.items() if row.get("type") != row.get("planned_type")],
        "hours_done": round((sum(row.get("seconds") or 0 for row in rows.values()) + of_trunks) / 3600, 3),
        "hours_left": None if left is None else round(left / 3600 / sweep.plan.spec.jobs, 3),
        "jobs": sweep.plan.spec.jobs,
    }


def seconds_left(
    runs: list[PlannedRun], states: dict[str, str], rows: dict[str, dict[str, Any]], steps: dict[str, int]
) -> float | None:
    """Of one job: what the plan expects, times what finished runs took over what was expected of them.

    steps: of running ones, how far they are. None where neither plan nor results tell.
    """
    planned = {run.name: run for run in runs}
    timed = [(START + row["seconds"], planned[name]) for name, row in rows.items() if name in planned]
    by_time = [(seconds, run.seconds) for seconds, run in timed if run.seconds]
    ratio = sum(s for s, _ in by_time) / sum(e for _, e in by_time) if by_time else 1.0
    rate = sum(run.flops * run.own_share for _, run in timed) / sum(s for s, _ in timed) if timed else None
    total = 0.0
    for run in runs:
        if states[run.name] in ("done", "failed"):
            continue
        expected = run.seconds * ratio if run.seconds else run.flops * run.own_share / rate if rate else None
        if expected is None:
            return None
        share = (steps.get(run.name, 0) - run.forked_at) / (run.steps - run.forked_at)  # of its own steps
        total += expected * (1 - min(1.0, max(0.0, share)))
    return total


def last_record(folder: Path) -> dict[str, Any]:
    """The last whole line of a run's metrics; empty where there is none."""
    try:
        with (folder / "metrics.jsonl").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            return record
    return {}


def in_words(progress: dict[str, Any]) -> str:
    """The same for people."""
    left = "" if progress["hours_left"] is None else f", {progress['hours_left']:.2f} h left on {progress['jobs']} jobs"
    counts = ", ".join(f"{progress[state]} {state}" for state in STATES if progress[state] or state == "done")
    lines = [f"{progress['sweep']}: {progress['runs']} runs: {counts}{left}"]
    lines += [f"  running  {run['name']}  step {run['step']:,} of {run['steps']:,}" for run in progress["in_hand"]]
    lines += [f"  cut      {name}  (resumed by `unmask scale run`)" for name in progress["cuts"]]
    lines += [f"  failed   {name}  {reason}" for name, reason in progress["failures"].items()]
    if progress["marked"]:
        lines.append(f"  {len(progress['marked'])} run(s) in another type than planned (`planned_type` in the results)")
    return "\n".join(lines)
