"""`unmask scale fit`: scaling laws of a sweep, three ways, with intervals, and the compute gap between two objectives.

    unmask scale fit runs.csv                        # objective, flops, params, loss; tokens unless 6 N D gives them
    unmask scale fit sweep/ --exclude 'flops<4e12' --json
    unmask scale fit quokka_logs/ --tag validation/loss

Approach 2 (parabolas a budget), approach 3 (L = E + A / N^α + B / D^β: own E, shared E, none, and in D − D0), laws of
repeated data, and the gap (`gap.py`). What cannot be fitted is null with its reason; the rest is fitted. From Python:

    fitted = fit_sweep(FitOptions("runs.csv"))       # Fitted: the SweepFit and what was left out
    result = result_of(fitted)                       # what --json prints
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.files import check_writable, write_whole
from unmask.scaling.constrained import QUOKKA_FIELDS, Quokka
from unmask.scaling.constrained_fit import constrained_of
from unmask.scaling.diagnostics import diagnostics_of
from unmask.scaling.epochs import studies_of
from unmask.scaling.estimates import LEVEL, estimate, nothing
from unmask.scaling.fit_words import in_words
from unmask.scaling.gap import gap_rows, no_gap
from unmask.scaling.held_out import held_out_of
from unmask.scaling.isoflop import Lines
from unmask.scaling.law import FIELDS, Law
from unmask.scaling.options import FitOptions
from unmask.scaling.selection import USUAL_PAIR, chosen_pair, exclude, exclude_plateau
from unmask.scaling.source_gaps import gaps_by_source
from unmask.scaling.sweep_fit import ObjectiveFit, SweepFit, fit_runs
from unmask.scaling.table import LeftOut, Runs, read_runs, together
from unmask.terminal import LiveLine

__all__ = ["FitOptions", "Fitted", "fit_sweep", "in_words", "result_of", "scale_fit"]

SCHEMA_VERSION = 1
FORMS = {"approach3": "own", "approach3_shared": "shared", "approach3_no_e": "no_e", "approach3_excess": "excess"}
EXPONENTS = ("n_exponent", "m_exponent", "d_exponent")
KEPT_DRAWS = 400  # of each law, in a fit file
BOUND = "an MDM's loss is an upper bound of its negative log-likelihood; every gap to one is a gap of bounds"


@dataclass
class Fitted:
    """sweep: the fit of the runs that take part; with_all: that of the plateau's too, without resamples, if any were.

    repeated: runs of tokens seen several times, for the laws of repeated data alone: `constrained`, `quokka_draws`.
    """

    options: FitOptions
    sweep: SweepFit
    repeated: Runs
    apart: Runs  # on repeated data too, no law's
    left_out: list[LeftOut] = field(default_factory=list)
    with_all: SweepFit | None = None
    why_no_pair: str | None = None
    constrained: dict[str, Any] | None = None
    by_source: dict[str, dict[str, Any]] = field(default_factory=dict)
    quokka_draws: dict[str, list[Quokka]] = field(default_factory=dict)


def scale_fit(options: FitOptions) -> dict[str, Any]:
    """Fits, and writes the result with its draws to `--out`. Raises `UserError` for what cannot be read."""
    fitted = fit_sweep(options)
    result = result_of(fitted)
    if options.out is not None:
        write_whole(options.out, json.dumps(result | {"draws": draws_of(fitted)}) + "\n")
    return result


def fit_sweep(options: FitOptions) -> Fitted:
    """Reads the runs, leaves out what takes no part, and fits the rest."""
    check_writable([options.out])
    runs, left_out = read_runs(options.runs, options.tag)
    if options.exclude:
        runs, out = exclude(runs, options.exclude)
        left_out += out
    apart, runs = runs.take(runs.apart), runs.take(~runs.apart)
    repeated, fresh = runs.take(runs.repeats), runs.take(~runs.repeats)
    if not len(fresh):
        raise UserError(f"{options.runs}: every run repeats its data; laws are fitted to runs that do not, add some")
    pair, why = chosen_pair(fresh.names, options.pair)
    kept, out = exclude_plateau(fresh, pair[0] if pair else "arm")
    with LiveLine() as line:

        def show(text: str) -> None:
            line.show(f"fit | {text}, {options.resamples} resamples")

        if pair is not None and not set(pair) <= set(kept.names):
            gone = next(name for name in pair if name not in kept.names)
            pair, why = None, f"no run of {gone} is left: each has fewer than 4 x the plateau's tokens"
        sweep = fit_runs(kept, pair, options.resamples, options.seed, show)
        with_all = fit_runs(fresh, pair, 0, options.seed) if out else None
        laws, quokka = constrained_of(sweep, repeated, options.resamples, options.seed)
        show("the gap by source")
        by_source = gaps_by_source(kept, pair, options.resamples, options.seed)
    return Fitted(options, sweep, repeated, apart, left_out + out, with_all, why, laws, by_source, quokka)


def result_of(fitted: Fitted) -> dict[str, Any]:
    """JSON values; nothing infinite."""
    sweep, resamples = fitted.sweep, fitted.options.resamples
    left = dict.fromkeys(row.objective for row in fitted.left_out)
    gone = {name: f"every run of {name} is left out" for name in left if name not in sweep.objectives}
    methods = dict.fromkeys(fit.headline.method for fit in sweep.objectives.values() if fit.headline.method)
    interval = f"{LEVEL:.0%}, {'; '.join(methods)}" if methods else "none"
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "scale fit",
        "runs": {"source": Path(fitted.options.runs).name, "n": {n: len(o.runs) for n, o in sweep.objectives.items()}},
        "pair": list(sweep.pair) if sweep.pair else None,
        "interval": interval,
        "n_resamples": resamples,
        "flops_rule": sweep.runs.flops_rule,
        "excluded": [row.to_dict() for row in fitted.left_out],
        **parts_of(sweep, False, fitted.why_no_pair, gone),
        "held_out": {name: held_out_of(fit) for name, fit in sweep.objectives.items()},
        "scatter": {n: o.scatter.to_dict() if o.scatter else None for n, o in sweep.objectives.items()},
        "diagnostics": diagnostics_of(sweep),
        "run_level": parts_of(sweep, True, fitted.why_no_pair, gone) if resamples else None,
        "all_runs": None,
        "constrained": fitted.constrained,
        "by_source": fitted.by_source,
        "repeated": studies_of(together(sweep.runs, fitted.repeated, fitted.apart), sweep.pair or USUAL_PAIR),
        "minima": {name: minima_of(fit) for name, fit in sweep.objectives.items()},
        "ranges": {name: ranges_of(fit.runs) for name, fit in sweep.objectives.items()},
        "cost": {name: fit.cost.to_dict() for name, fit in sweep.objectives.items()},
        "note": BOUND,
    }
    if fitted.with_all is not None:
        result["all_runs"] = parts_of(fitted.with_all, False, None)
    return result


def parts_of(
    sweep: SweepFit, run_level: bool, why_no_pair: str | None, gone: dict[str, str] | None = None
) -> dict[str, Any]:
    """The fits and the gap, with the intervals of one way to resample. gone: objectives without runs, and why."""
    gone = gone or {}
    parts: dict[str, Any] = {"approach2": {n: lines_of(o, run_level) for n, o in sweep.objectives.items()}}
    parts["approach2"] |= {name: no_lines(why) for name, why in gone.items()}
    for key, form in FORMS.items():
        several = sweep.objectives if form != "shared" else {n: sweep.objectives[n] for n in sweep.pair or ()}
        entries = {name: law_of(fit, form, run_level) for name, fit in several.items()}
        if form != "shared":
            entries |= {name: no_law(form, why) for name, why in gone.items()}
        parts[key] = entries or nothing(why_no_pair or "there is no pair")
    parts["gap"] = gap_of(sweep, run_level, why_no_pair)
    return parts


def lines_of(fit: ObjectiveFit, run_level: bool) -> dict[str, Any]:
    """Approach 2 of one objective."""
    names = [f.name for f in dataclasses.fields(Lines)]
    if fit.lines is None:
        return no_lines(fit.why.get("approach2", "it could not be fitted"))
    drawn = (fit.run_level if run_level else fit.headline).lines
    return {name: estimate(getattr(fit.lines, name), getattr(drawn, name) if drawn else None) for name in names}


def law_of(fit: ObjectiveFit, form: str, run_level: bool) -> dict[str, Any]:
    """Approach 3 of one objective, and the exponents of its frontier between its smallest and largest budget."""
    law = fit.laws.get(form)
    if law is None:
        return no_law(form, fit.why.get(form, "it could not be fitted"))
    drawn = (fit.run_level if run_level else fit.headline).laws.get(form)
    fields = {name: estimate(getattr(law, name), getattr(drawn, name) if drawn else None) for name in fields_of(form)}
    own, of_draws = slopes(law, fit), slopes(drawn, fit) if drawn else {}
    fields |= {name: estimate(own[name], of_draws.get(name)) for name in EXPONENTS}
    return fields | ({"D0": law.D0} if form == "excess" else {})


def fields_of(form: str) -> list[str]:
    return [name for name in FIELDS if not (form == "no_e" and name == "E")]


def no_lines(why: str) -> dict[str, Any]:
    """Nulls in the place of approach 2."""
    return {f.name: nothing(why) for f in dataclasses.fields(Lines)} | {"why": why}


def no_law(form: str, why: str) -> dict[str, Any]:
    """Nulls in the place of a form of approach 3."""
    return {name: nothing(why) for name in (*fields_of(form), *EXPONENTS)} | {"why": why}


def slopes(law: Law, fit: ObjectiveFit) -> dict[str, Any]:
    """Exponents in C of N*, FLOPs a token and D*, from the smallest budget to the largest."""
    ends = np.array([fit.flops_K.min(), fit.flops_K.max()])
    if ends[0] == ends[1]:
        ends = ends * np.array([1.0, 10.0])
    best = law.optimum(ends, fit.cost)
    width = math.log(ends[1] / ends[0])
    with np.errstate(all="ignore"):
        values = {"n_exponent": best.params, "m_exponent": fit.cost(best.params), "d_exponent": best.tokens}
        return {name: np.log(v[..., 1] / v[..., 0]) / width for name, v in values.items()}


def gap_of(sweep: SweepFit, run_level: bool, why_no_pair: str | None) -> list[dict[str, Any]]:
    if sweep.pair is None:
        return [no_gap("overlap", why_no_pair or "there is no pair")]
    a, b = (sweep.objectives[name] for name in sweep.pair)
    reasons = {"approach2": "approach2", "approach3": "own", "approach3_shared": "shared"}
    why = {form: words for form, part in reasons.items() if (words := a.why.get(part) or b.why.get(part))}
    if "approach2" in why and (a.minima is None or b.minima is None):
        why["overlap"] = why["approach2"]
    return gap_rows(a.side(run_level), b.side(run_level), why)


def minima_of(fit: ObjectiveFit) -> list[dict[str, Any]]:
    """Each budget's parabola: where it is lowest."""
    minima, drawn, why = fit.minima, fit.headline.minima, "the parabola opens downward"
    if minima is None:
        return []
    rows = []
    for k, flops in enumerate(minima.flops_K):
        params = estimate(np.exp(minima.log_params[k]), np.exp(drawn.log_params[:, k]) if drawn else None, why)
        loss = estimate(minima.loss[k], drawn.loss[:, k] if drawn else None, why)
        rows.append({"flops": float(flops), "params": params, "loss": loss, "counts": bool(minima.counts[k])})
    return rows


def ranges_of(runs: Runs) -> dict[str, list[float]]:
    """What was run: the ends of budgets, sizes and tokens."""
    return {
        name: [float(v.min()), float(v.max())]
        for name in ("flops", "params", "tokens")
        if len(v := getattr(runs, name))
    }


def draws_of(fitted: Fitted) -> dict[str, Any]:
    """Lines and laws of the first resamples of the headline, for predictions with intervals."""
    draws: dict[str, Any] = {"approach2": {}, **{key: {} for key in FORMS}, "quokka": {}}
    for name, drawn in fitted.quokka_draws.items():
        draws["quokka"][name] = {n: _numbers([getattr(law, n) for law in drawn]) for n in QUOKKA_FIELDS}
        draws["quokka"][name] |= {n: _numbers([getattr(law.base, n) for law in drawn]) for n in FIELDS}
    for name, fit in fitted.sweep.objectives.items():
        if fit.headline.lines is not None:
            names = [f.name for f in dataclasses.fields(Lines)]
            draws["approach2"][name] = {n: _numbers(getattr(fit.headline.lines, n)) for n in names}
        for key, form in FORMS.items():
            if (law := fit.headline.laws.get(form)) is not None:
                draws[key][name] = {n: _numbers(getattr(law, n)) for n in FIELDS}
    return draws


def _numbers(values: Any) -> list[float | None]:
    array = np.asarray(values, float)[:KEPT_DRAWS]
    return [float(f"{v:.7g}") if math.isfinite(v) else None for v in array]
