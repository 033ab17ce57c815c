"""What a law says of a budget, a loss, or a size and its tokens: `unmask scale predict`.

    unmask scale predict --flops 1e21                             # optimal size, tokens and loss, MDM and ARM
    unmask scale predict --loss 2.5 --from paper                  # the compute it takes, and the same
    unmask scale predict --params 1e9 --tokens 2e10 --from report/fit.json
    unmask scale predict --flops 1e21 --unique 5e9 --from report/fit.json     # repeated data

Frontiers are approach 2's lines (Hoffmann et al. 2022, section 3.2; Nie et al. 2025), the loss of a size and its tokens
approach 3's law, with repeated data its data-constrained forms (Muennighoff et al. 2023, arXiv 2305.16264, and
beside it Quokka's, Ni et al. 2025, arXiv 2510.03280, whose worth of repeats falls again).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from unmask.errors import UserError
from unmask.scaling.estimates import power
from unmask.scaling.options import PredictOptions
from unmask.scaling.published import BOUND, Interval
from unmask.scaling.sources import FORMS, QUANTITIES, NotFitted, Repeats, Source, open_source
from unmask.terminal import aligned

UNITS = {"flops": "FLOPs", "params": "parameters", "tokens": "tokens", "loss": "nats/token"}
SHOWN = {"flops": "compute C", "params": "size N", "tokens": "tokens D", "loss": "loss, nats/token"}
ROUNDING = 1.005  # budgets and sizes are round


def scale_predict(options: PredictOptions) -> dict[str, Any]:
    """`query`, `from`, `flops_rule`, `objectives` (each quantity as estimate, low, high), `warnings`, `notes`; with
    repeated data `quokka` too, as `objectives` (which are Muennighoff's then).

    Raises `UserError` for options that do not go together, and for what the source cannot tell.
    """
    options.check()
    source = open_source(options.source, options.flops if options.unique is None else None)
    remarks: list[str] = []
    answers = _answers(source, options, FORMS[0], remarks)
    missing: list[str] = []
    beside = _answers(source, options, "quokka", missing) if options.unique is not None else {}
    if not answers and not beside:
        raise UserError(remarks[0] if remarks else f"{source.name} has no objective; give --from another fit")
    for line in remarks:
        warnings.warn(line, stacklevel=2)
    notes = [f"{BOUND}; intervals (95%) are of the line, and a run scatters about it", *source.notes]
    notes += [line for line in missing if line not in remarks and "extrapolated" not in line]
    query = {name: value for name, value in vars(options).items() if name != "source" and value is not None}
    return {
        "query": query,
        "from": source.name,
        "flops_rule": source.rule,
        "objectives": answers,
        **({"quokka": beside} if options.unique is not None else {}),
        "warnings": remarks,
        "notes": notes,
    }


def _answers(source: Source, options: PredictOptions, form: str, remarks: list[str]) -> dict[str, dict[str, Any]]:
    """By objective; what is missing or far from the runs is added to `said`. Raises `UserError` for what is too far."""
    answers: dict[str, dict[str, Any]] = {}
    for objective in source.objectives:
        try:
            answer = _answer(source, objective, options, form)
        except NotFitted as error:
            remarks.append(str(error))
            continue
        except OverflowError:
            answer = {"flops": _exact(math.inf)}
        finite = all(math.isfinite(value[0]) for value in answer.values())
        if not finite and form == "quokka":  # so many repeats leave nothing of what was learnt
            remarks.append(f"Quokka's law of {objective} gives no finite loss there")
            continue
        if not finite:
            raise UserError(
                f"that is too far from the runs of {source.name} to say anything of {objective}; ask nearer"
            )
        remarks += _outside(source, objective, answer, options)
        answers[objective] = {name: _json(value) for name, value in answer.items()}
    return answers


def in_words(result: dict[str, Any]) -> str:
    """A row an objective."""
    query = ", ".join(
        f"{value if name == 'loss' else power(value)} {UNITS.get(name, 'unique tokens')}"
        for name, value in result["query"].items()
    )
    rule = "6 N D" if result["flops_rule"] == "6nd" else "exact FLOPs"
    by = {"": result["objectives"]}
    if "quokka" in result:
        by = {", Muennighoff": result["objectives"], ", Quokka": result["quokka"]}
    columns = next(list(values) for answers in by.values() for values in answers.values())
    rows = [["", *(SHOWN[name] for name in columns)]]
    for form, answers in by.items():
        for objective, values in answers.items():
            rows.append([objective + form, *(_cell(name, values[name]) for name in columns)])
    lines = [f"  {line}" for line in (*aligned(rows), *result["notes"])]
    return "\n".join([f"{query}, from {result['from']} ({rule}):", *lines])


def _answer(source: Source, objective: str, options: PredictOptions, form: str) -> dict[str, Interval]:
    """Compute, size, tokens and loss; what was asked for is exact."""
    repeats = None if options.unique is None else Repeats(options.unique, form)
    if options.params is not None and options.tokens is not None:
        asked = {"params": options.params, "tokens": options.tokens}
        flops = source.flops_of(objective, **asked)
        loss = source.loss(objective, **asked, repeats=repeats)
        return {**{name: _exact(value) for name, value in {"flops": flops, **asked}.items()}, "loss": loss}
    if options.loss is not None:
        return {**source.reach(objective, options.loss), "loss": _exact(options.loss)}
    assert options.flops is not None
    line = source.frontier(objective, options.flops, repeats)
    return {"flops": _exact(options.flops), **{name: line[name] for name in QUANTITIES}}


def _exact(value: float) -> Interval:
    return value, None, None


def _outside(source: Source, objective: str, answer: dict[str, Interval], options: PredictOptions) -> list[str]:
    """A line for the first of compute, and the size and tokens asked for, that lies outside what was run."""
    for name in ("flops", *(which for which in ("params", "tokens") if getattr(options, which) is not None)):
        low, high = source.ranges[objective][name]
        value = answer[name][0]
        if not low / ROUNDING <= value <= high * ROUNDING:
            far = (
                f"{value / high:.3g} times the largest" if value > high else f"{low / value:.3g} times below the least"
            )
            ran = f"{power(low)} to {power(high)}"
            return [f"{objective}: {power(value)} {UNITS[name]} is {far} of the fit's ({ran}): extrapolated"]
    return []


def _json(value: Interval) -> dict[str, float | None]:
    estimate, low, high = (None if v is None or not math.isfinite(v) else v for v in value)
    return {"estimate": estimate, "low": low, "high": high}


def _cell(name: str, value: dict[str, float | None]) -> str:
    """4.17e9 [2.99e9, 5.82e9]."""
    form = ".4f" if name == "loss" else ".2e"
    estimate, low, high = (
        "-" if end is None else format(end, form).replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
        for end in (value["estimate"], value["low"], value["high"])
    )
    return estimate if value["low"] is None and value["high"] is None else f"{estimate} [{low}, {high}]"
