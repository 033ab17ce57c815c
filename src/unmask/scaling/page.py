"""The report of a scaling fit: one self-contained HTML page, written from the fit's JSON and its view.

    write_whole(out / "report.html", render(fit, view, pictures))

Every number is a field of ``fit.json``; style and pictures are inline, and no network is asked.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from unmask._version import __version__
from unmask.pages import page, section, table
from unmask.scaling.held_out import predictions
from unmask.scaling.page_gap import gap_section, source_table
from unmask.scaling.page_parts import bounds, card, cell, known, picture, power, within
from unmask.scaling.page_repeated import repeated_section
from unmask.scaling.published import BOUND, PAPER, paper_line

CAPTIONS = {
    "isoflop": "Each point is a run, each curve the parabola of a budget (FLOPs at its right end), the star its "
    "lowest point; stronger colours are larger budgets.",
    "frontier": "Lines through the lowest points, with their 95% bands; solid where budgets were run, dashed beyond; "
    "dotted: approach 3.",
    "gap": "Points: minima of both objectives interpolated at equal loss, only where both were measured. Lines: solid "
    "where both frontiers reach that loss inside their budgets, dashed where one of them is extrapolated.",
    "residuals": "Scatter without a pattern is noise of the runs; a bow or a slope is what the form of the law misses.",
    "repeated": "Solid: the weights a run ended with. Hollow: the best that a run was on its way. Dashed: the best of "
    "any training up to as long.",
}
TITLES = {
    "isoflop": "Loss of a budget's sizes",
    "frontier": "Frontiers",
    "gap": "The gap in compute",
    "residuals": "What the fits leave",
    "repeated": "Repeated data",
}
EXPONENTS = (
    ("n_exponent", "size N*"),
    ("d_exponent", "tokens D*"),
    ("m_exponent", "FLOPs a token"),
    ("loss_exponent", "loss L*"),
)


def render(fit: dict[str, Any], view: dict[str, Any], pictures: dict[str, str]) -> str:
    """The page. pictures: inline SVG by the name of the figure."""
    parts = [headline(fit, view)]
    bodies = {
        "gap": gap_section(view) + source_table(fit),
        "isoflop": isoflop_section(view),
        "frontier": frontier_section(fit, view),
        "residuals": residual_section(fit),
        "repeated": repeated_section(fit, view),
    }
    for name, body in bodies.items():
        if name in pictures or body:
            parts.append(section(TITLES[name], picture(pictures.get(name), CAPTIONS[name]) + body))
    parts += [approach3_section(fit), later_section(view), missing_section(fit), settings_section(fit, view)]
    return page("unmask: scaling report", [part for part in parts if part])


# ------------------------------------------------------------------ the parts of the page


def headline(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """What was fitted, and the figures that people look for."""
    names = view["objectives"]
    runs = [run for run in view["runs"] if not run["excluded"]]
    budgets = sorted({curve["flops"] for curves in view["budgets"].values() for curve in curves})
    reach = f", {len(budgets)} budgets of {power(budgets[0])} to {power(budgets[-1])} FLOPs" if budgets else ""
    rule = (
        "6 N D with non-embedding N" if fit["flops_rule"] == "6nd" else "the exact count, attention and head included"
    )
    cards = [
        card(f"{name.upper()}: N* in C", within(fit["approach2"][name]["n_exponent"], ".3f"), "exponent", name)
        for name in names
        if known(fit["approach2"].get(name), "n_exponent")
    ]
    measured = [e for e in view["gap"] if e["form"] == "overlap" and e["axis"] == names[-1] and e["estimate"]]
    if measured:
        values = [e["estimate"] for e in measured]
        span = f"{min(values):.1f}x" if len(values) == 1 else f"{min(values):.1f}x–{max(values):.1f}x"
        cards.insert(0, card("Gap at equal loss", span, f"measured, by {names[-1].upper()} compute", "xz"))
    return (
        f"<header><h1>How {' and '.join(escape(name.upper()) for name in names)} scale</h1>"
        f'<p class="soft"><b>{escape(view["source"])}</b>: {len(runs)} runs{reach}; FLOPs by {rule}. '
        f"{BOUND} on its negative log-likelihood, an ARM's is exact.</p></header>"
        f'<div class="cards">{"".join(cards)}</div>'
        + "".join(f'<p class="soft">{escape(note)}</p>' for note in view["notes"])
    )


def isoflop_section(view: dict[str, Any]) -> str:
    """Where each budget's parabola is lowest, and which runs were left out."""
    rows = []
    for name in view["objectives"]:
        for curve in view["budgets"].get(name, []):
            least = ["–"] * 3
            if curve["params"]:
                least = [power(curve["params"]), power(curve["tokens"]), f"{curve['loss']:.4f}"]
            counts = "yes" if curve["counts"] else escape(curve["why"])
            rows.append([escape(name.upper()), power(curve["flops"]), str(curve["runs"]), *least, counts])
    lowest = table(["", "budget", "runs", "N*", "D*", "L*, nats/token", "in the lines"], rows, numbers=(1, 2, 3, 4, 5))
    reasons = Counter((run["objective"], run["excluded"]) for run in view["runs"] if run["excluded"])
    gone = [[escape(name.upper()), str(n), escape(reason)] for (name, reason), n in reasons.items()]
    return lowest + ("<h3>Left out</h3>" + table(["", "runs", "because"], gone, numbers=(1,)) if gone else "")


def frontier_section(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """Exponents of approach 2 with both intervals, those of all runs where some were left out, and the paper's."""
    rows = []
    every, by_runs = fit.get("all_runs"), fit.get("run_level")
    for name in view["objectives"]:
        for key, label in EXPONENTS:
            if not known(fit["approach2"].get(name), key) or (key == "m_exponent" and fit["flops_rule"] == "6nd"):
                continue
            value = fit["approach2"][name][key]
            cells = [f"<b>{value['estimate']:.4f}</b>", bounds(value, ".4f")]
            cells.append(bounds(by_runs["approach2"][name][key], ".4f") if by_runs else "–")
            if every:
                other = (every["approach2"].get(name) or {}).get(key) or {}
                cells.append("–" if other.get("estimate") is None else f"{other['estimate']:.4f}")
            rows.append([escape(name.upper()), label, *cells, paper_exponent(name, key)])
    head = ["", "exponent in C of", "approach 2", "95%", "95% by runs", *["with all runs"] * bool(every), "the paper's"]
    note = (
        '<p class="soft">The paper: ' + escape(PAPER) + ", by 6 N D. By runs: runs drawn anew instead of residuals.</p>"
    )
    return table(head, rows, numbers=range(2, len(head))) + note if rows else ""


def paper_exponent(name: str, key: str) -> str:
    which = {"n_exponent": "params", "d_exponent": "tokens", "loss_exponent": "loss"}.get(key)
    return f"{paper_line(name, which).exponent:.4f}" if which and name in ("arm", "mdm") else "–"


APPROACH3 = (
    ("approach3", "an E each"),
    ("approach3_shared", "one E"),
    ("approach3_no_e", "without E"),
    ("approach3_excess", "in D − D0"),
)


def approach3_section(fit: dict[str, Any]) -> str:
    """Parameters of L(N, D) in every form that could be fitted."""
    rows = []
    for key, label in APPROACH3:
        for name, law in (fit.get(key) or {}).items():
            if isinstance(law, dict) and known(law, "alpha"):
                cells = [cell(law.get(field)) for field in ("E", "A", "B", "alpha", "beta")]
                rows.append([escape(label), escape(name.upper()), *cells])
    if not rows:
        return ""
    intro = (
        '<p class="soft">L(N, D) = E + A/N<sup>α</sup> + B/D<sup>β</sup>, Huber loss of log L. The bound of an MDM '
        "with exact conditionals is the entropy of the text, and so is an ARM's least loss: on that common floor "
        "one E rests.</p>"
    )
    return section("Approach 3", intro + table(["form", "", "E", "A", "B", "α", "β"], rows, numbers=(2, 3, 4, 5, 6)))


def residual_section(fit: dict[str, Any]) -> str:
    """How far the fit without the largest budget misses it, and what stands against the fit."""
    rows = [
        [escape(name.upper()), power(entry["flops"]), f"{entry['measured']['loss']:.4f}", *predictions(entry)]
        for name, entry in fit["held_out"].items()
        if entry["flops"] is not None
    ]
    head = ["", "largest budget", "measured L*", "approach 2 without it", "approach 3 without it"]
    html = "<h3>Extrapolation tried out</h3>" + table(head, rows, numbers=(1, 2, 3, 4)) if rows else ""
    stands = []
    for row in fit["diagnostics"]:
        budget = "–" if row["flops"] is None else power(row["flops"])
        stands.append([escape(row["objective"].upper()), budget, escape(row["problem"]), escape(row["says"])])
    if stands:
        html += "<h3>What stands against the fit</h3>" + table(["", "budget", "", ""], stands, numbers=(1,))
    return html


def later_section(view: dict[str, Any]) -> str:
    """Runs trained after the fit, against what it predicts for them."""
    if not view["over"]:
        return ""
    rows = []
    for later in view["over"]:
        for words, predicted in later["predicted"].items():
            off = "–" if predicted["estimate"] is None else f"{later['loss'] - predicted['estimate']:+.4f}"
            value = "–" if predicted["estimate"] is None else f"{predicted['estimate']:.4f}"
            measured = f"{later['loss']:.4f}" + (f" ± {later['se']:.4f}" if later["se"] else "")
            place = f"N {power(later['params'])}, D {power(later['tokens'])}, C {power(later['flops'])}"
            words += "" if later["inside"] else "; extrapolated"
            rows.append([escape(later["name"]), place, escape(words), value, bounds(predicted, ".4f"), measured, off])
    intro = (
        '<p class="soft">The loss of a run is that of its last validation, on other windows and draws than the sweep '
        "was scored by, and the difference holds that too.</p>"
    )
    head = ["run", "", "prediction", "nats/token", "95%", "measured", "difference"]
    return section("A later run over the prediction", intro + table(head, rows, numbers=(3, 4, 5, 6)))


def missing_section(fit: dict[str, Any]) -> str:
    """What could not be fitted, and why."""
    rows = []
    for key, label in (("approach2", "approach 2"), *((key, f"approach 3, {words}") for key, words in APPROACH3)):
        entries = fit.get(key) or {}
        several = {"": entries} if isinstance(entries.get("why"), str) else entries
        for name, entry in several.items():
            if isinstance(entry, dict) and isinstance(entry.get("why"), str):
                rows.append([escape(label), escape(name.upper()), escape(entry["why"])])
    return section("What could not be fitted", table(["", "", "because"], rows)) if rows else ""


def settings_section(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """What decides the numbers."""
    rule = "6 N D, N non-embedding" if fit["flops_rule"] == "6nd" else "exact: attention and the head included"
    rows = [
        ["runs", escape(view["source"])],
        ["FLOPs", rule],
        ["intervals", escape(fit["interval"])],
        ["resamples", f"{fit['n_resamples']:,}"],
        ["left out", str(len(fit["excluded"]))],
        ["unmask", escape(__version__)],
    ]
    return section("Settings", table(["", ""], rows))
