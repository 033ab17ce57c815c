"""`unmask scale report`: the fit of a sweep as a page with pictures, the published gaps beside it.

    unmask scale report runs.csv --out report
    unmask scale report sweep/ --out report --beside c4_isoflop.csv --over runs/large

Writes `report.html` (self-contained), `fit.json` (what `unmask scale predict --from report` reads), and each picture as
PNG and SVG. The fit is that of `unmask scale fit`, with its options.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.files import beside, write_whole
from unmask.pages import inline_svg
from unmask.scaling import figures
from unmask.scaling.beside import beside_of, notes_of
from unmask.scaling.estimates import estimate, nothing, power
from unmask.scaling.fit import Fitted, draws_of, fit_sweep, result_of
from unmask.scaling.later import read_later
from unmask.scaling.options import ReportOptions
from unmask.scaling.page import TITLES, render
from unmask.scaling.published import BOUND, PRINTED_GAPS
from unmask.scaling.sweep_fit import ObjectiveFit
from unmask.scaling.view import budgets_of, frontier_of, runs_of

PAGE, FIT = "report.html", "fit.json"


def scale_report(options: ReportOptions) -> dict[str, Any]:
    """`out`, `files`, and the fit as `unmask scale fit --json` prints it. Raises `UserError` as that does."""
    options.check()
    for run in options.over:  # what cannot be read is said before the fit
        read_later(run, "exact")
    fitted = fit_sweep(options.fit)
    fit = result_of(fitted)
    later = [_predicted(fitted, read_later(run, fit["flops_rule"])) for run in options.over]
    beside = beside_of(options.beside, fitted.sweep.pair, options.resamples, options.seed)
    view = view_of(fitted, fit, beside, later)
    files = _write(Path(options.out), fit | {"draws": draws_of(fitted)}, view)
    return {"out": str(options.out), "files": files, "fit": fit}


def in_words(result: dict[str, Any]) -> str:
    """What was written, and the gap in a line."""
    lines = [f"{result['out']}: {', '.join(result['files'])}"]
    pair = result["fit"]["pair"]
    for row in result["fit"]["gap"]:
        if pair and row["form"] == "overlap" and row["estimate"] is not None and row["axis"] == pair[1]:
            ends = "" if row["low"] is None else f" [{row['low']:.1f}, {row['high']:.1f}]"
            lines.append(f"  gap at {power(row['flops'])} FLOPs of {row['axis']}: {row['estimate']:.1f}x{ends}")
    return "\n".join([*lines, f"  {BOUND}"])


def view_of(
    fitted: Fitted, fit: dict[str, Any], beside: list[dict[str, Any]], later: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the pictures and the page show beside the fit's own JSON."""
    sweep = fitted.sweep
    reach = {name: [run["flops"] for run in later if run["objective"] == name] for name in sweep.objectives}
    lines = {name: frontier_of(own, reach[name]) for name, own in sweep.objectives.items()}
    return {
        "source": fit["runs"]["source"],
        "notes": notes_of(fit["runs"]["source"]),
        "objectives": list(sweep.objectives),
        "pair": fit["pair"],
        "runs": runs_of(sweep.objectives, fitted.left_out),
        "budgets": {name: budgets_of(own) for name, own in sweep.objectives.items()},
        "frontier": {name: line for name, line in lines.items() if line is not None},
        "gap": fit["gap"],
        "beside": beside,
        "printed": list(PRINTED_GAPS) if beside else [],
        "repeated": fit["repeated"],
        "over": later,
    }


def _predicted(fitted: Fitted, later: dict[str, Any]) -> dict[str, Any]:
    """A later run with what the fit says of its compute, and of its size and tokens."""
    objectives = fitted.sweep.objectives
    if later["objective"] not in objectives:
        there = ", ".join(objectives)
        raise UserError(f"--over {later['name']} is an {later['objective']}, and the fit has {there}; leave it out")
    own_fit: ObjectiveFit = objectives[later["objective"]]
    predicted = {
        "approach 2: the best loss of its compute": nothing(own_fit.why.get("approach2", "no lines")),
        "approach 3: of its size and tokens": nothing(own_fit.why.get("own", "no law")),
    }
    line, law = predicted
    if own_fit.lines is not None:
        drawn = own_fit.headline.lines
        predicted[line] = estimate(own_fit.lines.loss(later["flops"])[0], drawn.loss(later["flops"]) if drawn else None)
    if (own := own_fit.laws.get("own")) is not None:
        place = (later["params"], later["tokens"])
        draws = own_fit.headline.laws.get("own")
        predicted[law] = estimate(own.loss(*place), draws.loss(*place) if draws else None)
    low, high = float(own_fit.flops_K.min()), float(own_fit.flops_K.max())
    return {**later, "predicted": predicted, "inside": low <= later["flops"] <= high}


def _write(out: Path, fit: dict[str, Any], view: dict[str, Any]) -> list[str]:
    """Everything beside the place, then each file to its own; what else lies in the folder stays."""
    drawn = figures.draw(view)
    with beside(out, "choose another --out") as partial:
        partial.mkdir()
        texts = figures.write(drawn, partial)
        pictures = {name: inline_svg(text, TITLES[name]) for name, text in texts.items()}
        write_whole(partial / FIT, json.dumps({**fit, "view": view}, allow_nan=False) + "\n")
        write_whole(partial / PAGE, render(fit, view, pictures))
        out.mkdir(exist_ok=True)
        names = sorted(path.name for path in partial.iterdir())
        for name in names:
            (partial / name).replace(out / name)
    return names
