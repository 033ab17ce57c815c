"""A scaling fit as tables of plain text, for a terminal.

print(in_words(result))         # what `unmask scale fit` prints without --json
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unmask.scaling.estimates import shown
from unmask.scaling.gap import on_sources
from unmask.scaling.held_out import predictions
from unmask.terminal import aligned

NONE = "–"
SHOWN_REASONS = 12
GAP_FORMS = {"overlap": "overlap", "approach2": "approach 2", "approach3": "approach 3", "approach3_shared": "shared E"}
FORMS = {"approach3": "own E", "approach3_shared": "shared E", "approach3_no_e": "no E", "approach3_excess": "D - D0"}


def in_words(result: dict[str, Any]) -> str:
    """Exponents with intervals, the gap by form, what extrapolates, what was left out and why."""
    counts = ", ".join(f"{n} {name}" for name, n in result["runs"]["n"].items())
    rule = {"6nd": "6 N D", "exact": "as the rows carry them"}[result["flops_rule"]]
    head = f"{result['runs']['source']}: {counts}; FLOPs {rule}; intervals: {result['interval']}"
    lines = [head + (f", {result['n_resamples']} resamples" if result["n_resamples"] else "")]
    lines += ["", *_approach2(result), "", *_approach3(result)]
    if result["constrained"]:
        lines += ["", *_constrained(result["constrained"])]
        lines += ["", *_repeated(result["repeated"])] if result["repeated"] else []
    lines += ["", *_gap(result)]
    lines += ["", *_by_source(result)] if result["by_source"] else []
    lines += _held_out(result["held_out"])
    lines += _against(result)
    return "\n".join(lines)


def _approach2(result: dict[str, Any]) -> list[str]:
    rows = [["approach 2: exponents in C of", "N*", "FLOPs a token", "D*", "L*"]]
    for name, entry in result["approach2"].items():
        cells = [shown(entry[f"{which}_exponent"]) for which in ("n", "m", "d")]
        rows.append([f"  {name}", *cells, shown(entry["loss_exponent"], 4)])
        if result["run_level"]:
            beside = result["run_level"]["approach2"][name]
            cells = [_interval(beside[f"{which}_exponent"]) for which in ("n", "m", "d")]
            rows.append(["    by run-level resamples", *cells, _interval(beside["loss_exponent"], 4)])
    return aligned(rows)


def _interval(figure: dict[str, Any], digits: int = 3) -> str:
    if figure["low"] is None:
        return NONE
    return f"[{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def _approach3(result: dict[str, Any]) -> list[str]:
    rows = [["approach 3: L = E + A/N^alpha + B/D^beta", "E", "alpha", "beta", "N* exponent", "A", "B"]]
    for key, words in FORMS.items():
        for name, entry in result[key].items():
            if not isinstance(entry, dict) or "alpha" not in entry or entry["alpha"]["estimate"] is None:
                continue
            cells = [shown(entry.get(field)) for field in ("E", "alpha", "beta", "n_exponent")]
            sizes = [NONE if (n := entry[field]["estimate"]) is None else f"{n:.4g}" for field in ("A", "B")]
            rows.append([f"  {name}, {words}", *cells, *sizes])
    return aligned(rows) if len(rows) > 1 else ["approach 3: not fitted"]


def _gap(result: dict[str, Any]) -> list[str]:
    if result["pair"] is None:
        return [f"gap: none; {result['gap'][0]['why']}"]
    a, b = result["pair"]
    lines = [f"gap: C of {b} / C of {a} at equal loss (*: extrapolates; {result['note']})"]
    for axis in (a, b):
        mine = [row for row in result["gap"] if row["axis"] == axis]
        rows = [[f"  at FLOPs of {axis}", *GAP_FORMS.values()]]
        for flops in sorted({row["flops"] for row in mine}):
            by_form = {row["form"]: row for row in mine if row["flops"] == flops}
            rows.append([f"  {flops:.3g}", *(_times(by_form.get(form)) for form in GAP_FORMS)])
        if len(rows) > 1:
            lines += aligned(rows)
    reasons = dict.fromkeys(f"  {GAP_FORMS[r['form']]}: none; {r['why']}" for r in result["gap"] if r["axis"] is None)
    return lines + list(reasons)


def _times(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    mark = "" if row["inside"] else "*"
    if row["estimate"] is None:
        return f"none{mark}"
    value = f"{row['estimate']:.3g}x{mark}"
    return value if row["low"] is None else f"{value} [{row['low']:.3g}, {row['high']:.3g}]"


def _by_source(result: dict[str, Any]) -> list[str]:
    """The headline form on each source, at every compute at which the whole has it."""
    places, found = on_sources(result)
    rows = [["gap by source (tokens)", *(f"{axis} {flops:.3g}" for axis, flops in places)]]
    rows += [[f"  {name}", *(_times(row) or NONE for row in own)] for name, own in found.items()]
    return aligned(rows)


def _held_out(part: dict[str, Any]) -> list[str]:
    rows = [["held out: the largest budget, from those below", "measured L*", "approach 2", "approach 3"]]
    for name, entry in part.items():
        if entry["flops"] is not None:
            measured = f"{entry['measured']['loss']:.4f}"
            rows.append([f"  {name} at {entry['flops']:.3g}", measured, *predictions(entry)])
    return ["", *aligned(rows)] if len(rows) > 1 else []


def _constrained(part: dict[str, Any]) -> list[str]:
    rows = [["repeated data", "R_D (Muennighoff)", "best epochs (Quokka)"]]
    for name, entry in part.items():
        quokka = entry["quokka"].get("best_epochs")
        rows.append([f"  {name}", shown(entry["muennighoff"]["R_D"], 1), shown(quokka, 0)])
    return aligned(rows)


def _repeated(studies: Sequence[dict[str, Any]]) -> list[str]:
    """Losses over epochs: of the final weights, and of the best checkpoint where the runs tell of it."""
    rows = [["loss over epochs", "epochs", "final weights", "best until then", "best checkpoints (epochs)"]]
    for study in studies:
        for series in study["series"]:
            several = ", ".join(f"{loss:.4f} ({epochs:.3g})" for epochs, loss in series["checkpoints"])
            for i, epochs in enumerate(series["epochs"]):
                losses = (f"{series[which][i]:.4f}" for which in ("final", "best"))
                last = i == len(series["epochs"]) - 1
                rows.append([f"  {study['title']}, {series['label']}", f"{epochs:.3g}", *losses, several * last])
    return aligned(rows)


def _against(result: dict[str, Any]) -> list[str]:
    """What stands against it, what could not be fitted, what was left out."""
    lines = []
    for row in result["diagnostics"]:
        at = "" if row["flops"] is None else f" at {row['flops']:.3g}"
        lines.append(f"  {row['objective']}{at}: {row['problem']}: {row['says']}")
    for name, entry in result["scatter"].items():
        if entry is not None and entry["agrees"]:
            lines.append(
                f"  {name}: scatter {entry['residual']:.4f} nats, repeated seeds {entry['seed']:.4f}: they agree"
            )
    for key, words in FORMS.items():
        entries = result[key] if "why" not in result[key] else {"": result[key]}
        for name, entry in entries.items():
            if isinstance(entry, dict) and "why" in entry and key != "approach3_excess":
                lines.append(f"  approach 3, {words}{f', {name}' if name else ''}: none; {entry['why']}")
    left = result["excluded"]
    for row in left[:SHOWN_REASONS]:
        lines.append(f"  left out: {row['objective']}, {row['flops']:.3g} FLOPs, {row['params']:.3g}: {row['reason']}")
    if len(left) > SHOWN_REASONS:
        lines.append(f"  left out: {len(left) - SHOWN_REASONS} more (--json lists them)")
    if result["all_runs"]:
        for name, entry in result["all_runs"]["approach2"].items():
            value, loss = shown(entry["n_exponent"]), shown(entry["loss_exponent"], 4)
            lines.append(f"  with all runs: {name} N* {value}, L* {loss}")
    return ["", "notes", *lines] if lines else []
