"""The report of a scaling fit: one self-contained HTML page, written from the fit's JSON and its view.

    write_whole(out / "report.html", render(fit, view, pictures))

Every number is a field of ``fit.json`` or of what was laid beside it; style and pictures are inline, no network is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from unmask.evaluation.report import page, power, section, table
from unmask.scaling.figures import FORMS
from unmask.scaling.published import BOUND, C4_NOTE, PAPER, paper_line

CAPTIONS = {
    "isoflop": "Each point is a run, each curve the parabola of a budget (FLOPs at its right end), the star its lowest "
    "point; stronger colours are larger budgets.",
    "frontier": "Lines through the lowest points, with their 95% bands; solid where budgets were run, dashed beyond, dotted: "
    "approach 3.",
    "gap": "Points: minima of both objectives interpolated at equal loss, only where both were measured. Lines: solid where "
    "both frontiers reach that loss inside their budgets, dashed where one of them is extrapolated.",
    "residuals": "Scatter without a pattern is noise of the runs; a bow or a slope is what the form of the law misses.",
    "repeated": "Solid: the weights a run ended with. Dashed: the best loss of any shorter training on the same tokens.",
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
        "gap": gap_section(fit, view),
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


def picture(svg: str | None, caption: str) -> str:
    """An inline picture over the whole width, with what to see in it."""
    return "" if svg is None else f'<div class="figure">{svg}</div><p class="soft">{caption}</p>'


# ------------------------------------------------------------------ the parts of the page


def headline(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """What was fitted, and the figures that people look for."""
    names = view["objectives"]
    runs = [run for run in view["runs"] if not run["excluded"]]
    budgets = sorted({curve["flops"] for curves in view["budgets"].values() for curve in curves})
    reach = f", {len(budgets)} budgets of {power(budgets[0])} to {power(budgets[-1])} FLOPs" if budgets else ""
    rule = "6 N D with non-embedding N" if fit["flops_rule"] == "6nd" else "the exact count, attention and head included"
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
        f"{escape(view['protocol'])}{BOUND} on its negative log-likelihood, an ARM's is exact.</p></header>"
        f'<div class="cards">{"".join(cards)}</div>'
    )


def gap_section(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """The table of gaps beside the picture, with those that others published."""
    if not view["gap"]:
        return f"<p>{escape(fit.get('gap_why') or 'No gap: it takes two objectives.')}</p>"
    first, second = view["pair"]
    rows = [
        [
            escape(FORMS[e["form"]][0]),
            escape(e["axis"].upper()),
            power(e["flops"]),
            "–" if e["estimate"] is None else f"<b>{e['estimate']:.1f}x</b>",
            bounds(e, ".1f"),
            "inside" if e["inside"] else "extrapolated",
        ]
        for form in FORMS
        for e in view["gap_rows"]
        if e["form"] == form
    ]
    told = (
        f"<p>How many times the compute of the {escape(first.upper())} the {escape(second.upper())} takes to reach the same "
        f"loss. <b>{BOUND}</b>, so the gap in likelihood itself is at most this.</p>"
    )
    head = ["form", "axis", "at FLOPs", "gap", "95%", "range"]
    return told + table(head, rows, numbers=(2, 3, 4)) + beside_table(view)


def beside_table(view: dict[str, Any]) -> str:
    """The gaps of other sweeps by the same estimators, and those printed without runs."""
    rows = []
    for other in view["beside"]:
        for e in other["rows"]:
            inside = "inside" if e["inside"] else "extrapolated"
            value = "–" if e["estimate"] is None else f"{e['estimate']:.1f}x"
            form = escape(FORMS[e["form"]][0])
            rows.append([escape(other["name"]), form, e["axis"].upper(), power(e["flops"]), value, bounds(e, ".1f"), inside])
    for who, value, what in view["printed_rows"]:
        rows.append([escape(who), "as printed", "–", "–", f"{value:g}x", "–", escape(what)])
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in view["notes"])
    head = ["source", "form", "axis", "at FLOPs", "gap", "95%", ""]
    return f"<h3>Beside it: {BOUND.lower()} there too</h3>" + table(head, rows, numbers=(3, 4, 5)) + notes


def isoflop_section(view: dict[str, Any]) -> str:
    """Where each budget's parabola is lowest, and which runs were left out."""
    rows = []
    for name in view["objectives"]:
        for curve in view["budgets"].get(name, []):
            rows.append(
                [
                    escape(name.upper()),
                    power(curve["flops"]),
                    str(curve["runs"]),
                    *(
                        (power(curve["params"]), power(curve["tokens"]), f"{curve['loss']:.4f}")
                        if curve["params"]
                        else ("–",) * 3
                    ),
                    "yes" if curve["counts"] else escape(curve["why"]),
                ]
            )
    told = table(["", "budget", "runs", "N*", "D*", "L*, nats/token", "in the lines"], rows, numbers=(1, 2, 3, 4, 5))
    reasons: dict[tuple[str, str], int] = {}
    for run in view["runs"]:
        if run["excluded"]:
            key = (run["objective"], run["excluded"])
            reasons[key] = reasons.get(key, 0) + 1
    gone = [[escape(name.upper()), str(n), escape(reason)] for (name, reason), n in reasons.items()]
    return told + ("<h3>Left out</h3>" + table(["", "runs", "because"], gone, numbers=(1,)) if gone else "")


def frontier_section(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """Exponents of approach 2 with what the paper's optima give."""
    rows = []
    for name in view["objectives"]:
        for key, label in EXPONENTS:
            if known(fit["approach2"].get(name), key):
                published = paper_exponent(name, key)
                value = fit["approach2"][name][key]
                rows.append([escape(name.upper()), label, f"<b>{value['estimate']:.4f}</b>", bounds(value, ".4f"), published])
    head = ["", "exponent in C of", "approach 2", "95%", "the paper's"]
    return table(head, rows, numbers=(2, 3, 4)) + f'<p class="soft">The paper: {escape(PAPER)}, by 6 N D.</p>'


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
    told = (
        '<p class="soft">L(N, D) = E + A/N<sup>α</sup> + B/D<sup>β</sup>, Huber loss of log L. The bound of an MDM with '
        "exact conditionals is the entropy of the text, as an ARM's loss at best, so both have the same floor: that is what "
        "one E rests on.</p>"
    )
    return section("Approach 3", told + table(["form", "", "E", "A", "B", "α", "β"], rows, numbers=(2, 3, 4, 5, 6)))


def cell(value: Any) -> str:
    """An estimate with its interval below."""
    if not isinstance(value, dict) or value.get("estimate") is None:
        return "–"
    form = ".3g" if abs(value["estimate"]) >= 10 else ".3f"
    ends = bounds(value, form)
    return format(value["estimate"], form) + (f'<br><span class="soft">{ends}</span>' if ends != "–" else "")


def later_section(view: dict[str, Any]) -> str:
    """Runs trained after the fit, against what it predicts for them."""
    if not view["over"]:
        return ""
    rows = []
    for later in view["over"]:
        for words, said in later["predicted"].items():
            off = "–" if said["estimate"] is None else f"{later['loss'] - said['estimate']:+.4f}"
            value = "–" if said["estimate"] is None else f"{said['estimate']:.4f}"
            measured = f"{later['loss']:.4f}" + (f" ± {later['se']:.4f}" if later["se"] else "")
            place = f"N {power(later['params'])}, D {power(later['tokens'])}, C {power(later['flops'])}"
            rows.append([escape(later["name"]), place, escape(words), value, bounds(said, ".4f"), measured, off])
    told = (
        '<p class="soft">The loss of a run is that of its last validation, on other windows and draws than the sweep was '
        "scored by, so the difference holds that too.</p>"
    )
    head = ["run", "", "prediction", "nats/token", "95%", "measured", "difference"]
    return section("A later run over the prediction", told + table(head, rows, numbers=(3, 4, 5, 6)))


# ------------------------------------------------------------------ small parts


def card(name: str, value: str, tag: str, colour: str) -> str:
    """A figure of the headline."""
    colour = colour if colour in ("arm", "mdm", "xz") else "unigram"
    return (
        f'<div class="card" style="--colour: var(--{colour})">{escape(name)}<b>{escape(value)}</b>'
        f'<span class="tag">{escape(tag)}</span></div>'
    )


def known(entry: Any, key: str) -> bool:
    """Whether a fit has a number there, and not null with its reason."""
    return isinstance(entry, dict) and isinstance(entry.get(key), dict) and entry[key].get("estimate") is not None


def within(value: dict[str, Any], form: str) -> str:
    """0.535 ± 0.046, the half being that of the interval."""
    if value["low"] is None or value["high"] is None:
        return format(value["estimate"], form)
    return f"{value['estimate']:{form}} ± {(value['high'] - value['low']) / 2:{form}}"


def bounds(value: dict[str, Any], form: str) -> str:
    """[low, high], or a dash."""
    if value.get("low") is None and value.get("high") is None:
        return "–"
    low, high = ("…" if value.get(end) is None else format(value[end], form) for end in ("low", "high"))
    return f"[{low}, {high}]"
