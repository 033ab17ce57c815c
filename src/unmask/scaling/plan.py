"""The plan of a sweep: which runs, how long each, what they cost, before anything is trained.

    unmask scale plan --data data/sweep --objective mdm --size family:32-192 --flops 1.6e13 --out plan.yaml
    unmask scale plan sweep.yaml --out plan.yaml
    unmask scale plan plan.yaml --objective mdm --flops 5e14 --size 160x5 --out plan.yaml      # one part more

A plan is a function of its settings (`parts.py`), so making it anew with more changes nothing of what is done. FLOPs by
both rules: 6 N D with non-embedding N, as the paper (arXiv 2410.18514), and exact, with attention and head.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from unmask.errors import UserError
from unmask.files import check_writable
from unmask.scaling.options import PlanOptions
from unmask.scaling.parts import Part, Spec, check, from_fields
from unmask.scaling.plan_file import Plan, listed, read_spec, write_plan
from unmask.scaling.runs import Facts, PlannedRun, planned_runs
from unmask.terminal import aligned


def plan(options: PlanOptions) -> dict[str, Any]:
    """Raises `UserError` for what contradicts itself, and for what the data cannot feed."""
    check_writable([options.out])
    spec = settings(options)
    facts = Facts.of(spec)
    runs = planned_runs(spec, facts)
    refuse_short_validation(spec, facts)
    for run in runs:  # what the recipe keys of a plan say is checked now, not by the first run
        run.recipe_for("-", "-")
    if options.seconds:
        from unmask.scaling.rates import measured

        spec, runs = measured(spec, runs, options.seconds)
    elif spec.precision == "auto":
        raise UserError("precision auto is chosen by measuring every shape; add --seconds 20, or give fp32 or bf16")
    elif options.plan is not None:
        runs = as_before(options.plan, runs)
    made = Plan(spec, facts, runs)
    if options.out is not None:
        write_plan(options.out, made)
    return summary(made, options.out)


def settings(options: PlanOptions) -> Spec:
    """The file's, with what the options say."""
    spec = Spec() if options.plan is None else read_spec(options.plan)
    names = ("data", "vocab", "context", "flops_rule", "precision", "compile", "jobs", "threads")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    spec = dataclasses.replace(spec, **given)
    where = options.plan or "the plan"
    if spec.data:
        spec = dataclasses.replace(spec, data=os.path.abspath(spec.data))
    if options.objective:
        taken = {part.part for part in spec.parts}
        parts = []
        for objective in options.objective:
            name = options.part or objective
            name = f"{name}-{objective}" if options.part and len(options.objective) > 1 else name
            number = 2
            while options.part is None and name in taken:
                name, number = f"{objective}-{number}", number + 1
            words = {"part": name, "objective": objective, "seeds": list(range(options.seeds))}
            words |= {"flops": split(options.flops), "sizes": split(options.size)}
            parts.append(from_fields(Part, words, f"{where}: "))
            taken.add(name)
        spec = dataclasses.replace(spec, parts=[*spec.parts, *parts])
    check(spec, where)
    return spec


def split(words: list[str]) -> list[str]:
    """``["1e12,2e12", "4e12"]`` as three."""
    return [word.strip() for given in words for word in given.split(",") if word.strip()]


def refuse_short_validation(spec: Spec, facts: Facts) -> None:
    if facts.held_out is None:
        return
    needed = spec.scoring.sequences * (spec.context - 1)
    if facts.held_out < needed:
        raise UserError(
            f"{spec.data} holds out {facts.held_out:,} tokens, and scoring {spec.scoring.sequences:,} sequences of "
            f"{spec.context - 1} takes {needed:,}; hold out more text, or lower scoring.sequences in the plan"
        )


def as_before(path: str, runs: list[PlannedRun]) -> list[PlannedRun]:
    """Runs with the times that the plan at `path` has of them already."""
    before = {run.name: run for run in listed(path)}
    digest = {name: run.digest("") for name, run in before.items()}
    return [
        dataclasses.replace(run, compile=before[run.name].compile, seconds=before[run.name].seconds)
        if digest.get(run.name) == run.digest("")
        else run
        for run in runs
    ]


def expected(made: Plan) -> dict[str, float]:
    """Half-widths of the intervals to expect from these runs, by simulation."""
    from unmask.scaling.expected import half_widths  # the fits take scipy

    return half_widths([run.to_dict() for run in made.runs if run.fitted and not run.unique_tokens])


def summary(made: Plan, out: str | None) -> dict[str, Any]:
    """The plan as JSON values: parts with their sums, runs, hours."""
    spec, runs = made.spec, made.runs
    parts = [part_summary(part, [run for run in runs if run.part == part.part], spec.jobs) for part in spec.parts]
    seconds = [run.seconds for run in runs if run.seconds is not None]
    return {
        "schema_version": 1,
        "out": out,
        "data": spec.data or None,
        "data_tokens": made.facts.tokens,
        "vocab": made.facts.vocab,
        **{name: getattr(spec, name) for name in ("context", "flops_rule", "precision", "jobs", "threads")},
        "runs": [run.to_dict() for run in runs],
        "parts": parts,
        "repeating": [run.name for run in runs if run.epochs is not None and run.epochs > 1],
        "hours": sum(seconds) / 3600 / spec.jobs if len(seconds) == len(runs) else None,
        "expected": expected(made),
    }


def part_summary(part: Part, own: list[PlannedRun], jobs: int) -> dict[str, Any]:
    known = [run.seconds for run in own if run.seconds is not None]
    most = max((run.epochs for run in own if run.epochs is not None), default=None)
    return {
        "part": part.part,
        "objective": part.objective,
        "runs": len(own),
        "fitted": part.fitted,
        "params": [min(run.params for run in own), max(run.params for run in own)],
        "tokens": [min(run.tokens for run in own), max(run.tokens for run in own)],
        "flops": sum(run.flops * run.own_share for run in own),
        "flops_6nd": sum(run.flops_6nd * run.own_share for run in own),
        "most_epochs": most,
        "hours": sum(known) / 3600 / jobs if len(known) == len(own) else None,
    }


def in_words(planned: dict[str, Any]) -> str:
    """Two tables: runs by grid point, and parts with their sums."""
    head = ("run", "N", "exact/6N", "D", "steps", "batch", "lr", "epochs", "seconds")
    rows: list[tuple[str, ...]] = [head, *(_row(run) for run in planned["runs"])]
    lines = aligned(rows, right=True)
    lines.append("")
    parts: list[tuple[str, ...]] = [("part", "runs", "FLOPs exact", "by 6ND", "D most", "epochs", "hours", "")]
    for part in planned["parts"]:
        hours = "" if part["hours"] is None else f"{part['hours']:.2f}"
        epochs = "" if part["most_epochs"] is None else f"{part['most_epochs']:.2f}"
        note = "" if part["fitted"] else "not fitted"
        sums = (f"{part['flops']:.3g}", f"{part['flops_6nd']:.3g}", f"{part['tokens'][1] / 1e6:.2f}M")
        parts.append((part["part"], str(part["runs"]), *sums, epochs, hours, note))
    lines += aligned(parts, right=True)
    lines.append("")
    compiled = sum(run["compile"] for run in planned["runs"])
    made = f"{planned['precision']} ({compiled} compiled)"
    lines.append(
        f"{len(planned['runs'])} runs of context {planned['context']}, vocabulary {planned['vocab']}, in {made}, "
        f"{planned['jobs']} at a time x {planned['threads']} threads; budgets by {planned['flops_rule']} FLOPs"
    )
    if planned["repeating"]:
        there = f"{planned['data_tokens']:,} tokens" if planned["data_tokens"] else "their tokens"
        lines.append(f"{len(planned['repeating'])} run(s) see {there} more than once (epochs above 1)")
    hours = "times are not measured; add --seconds 5"
    if planned["hours"] is not None:
        hours = f"{planned['hours']:.1f} hours in all"
    lines.append(hours + ("" if planned["out"] is None else f"; written to {planned['out']}"))
    for name, value in planned["expected"].items():
        lines.append(f"expected half-width (95%) of {name}: ±{value:.3g}")
    return "\n".join(lines)


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    epochs = "" if run["epochs"] is None else f"{run['epochs']:.2f}" + ("*" if run["epochs"] > 1 else "")
    seconds = "" if run["seconds"] is None else f"{run['seconds']:,.0f}"
    ratio = run["flops_per_token"] / (6 * run["params"])
    sizes = (f"{run['params']:,}", f"{ratio:.2f}", f"{run['tokens'] / 1e6:.2f}M", f"{run['steps']:,}")
    return (run["name"], *sizes, f"{run['batch']}x{run['context']}", f"{run['lr']:g}", epochs, seconds)


