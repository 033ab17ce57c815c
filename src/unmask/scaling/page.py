"""The report of a scaling fit: one self-contained HTML page, written from the fit's JSON and its view.

    write_whole(out / "report.html", render(fit, view, pictures))

Every number is a field of ``fit.json``; style and pictures are inline, and no network is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from unmask._version import __version__
from unmask.pages import page, section, table
from unmask.scaling.published import BOUND, PAPER, paper_line

CAPTIONS = {
    "isoflop": "Each point is a run, each curve the parabola of a budget (FLOPs at its right end), the star its "
    "lowest point; stronger colours are larger budgets.",
    "frontier": "Lines through the lowest points, with their 95% bands; solid where budgets were run, dashed beyond; "
    "dotted: approach 3.",
    "gap": "Points: minima of both objectives interpolated at equal loss, only where both were measured. Lines: solid "
    "where both frontiers reach that loss inside their budgets, dashed where one of them is extrapolated.",
    "residuals": "Scatter without a pattern is noise of the runs; a bow or a slope is what the form of the law misses.",
    "repeated": "Solid: the weights a run ended with. Dashed: the best loss of any training up to as long.",
}
TITLES = {
    "isoflop": "Loss of a budget's sizes",
    "frontier": "Frontiers",
    "gap": "The gap in compute",
    "residuals": "What the fits leave",
    "repeated": "Repeated data",
}
# forms of a gap as columns of a table
COLUMNS = {
    "overlap": "minima, interpolated",
    "approach2": "approach 2",
    "approach3_shared": "approach 3, one E",
    "approach3": "approach 3, an E each",
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
        "gap": gap_section(view),
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
    return (
        ""
        if svg is None
        else f'<div class="scroll"><div style="min-width: 42rem">{svg}</div></div><p class="soft">{caption}</p>'
    )


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


def gap_section(view: dict[str, Any]) -> str:
    """The gaps of every form, by the compute of either objective, with those that others published."""
    if view["pair"] is None:
        return ""
    first, second = (escape(name.upper()) for name in view["pair"])
    told = (
        f"<p>How many times the compute of the {first} the {second} takes to reach the same loss. <b>{BOUND}</b>, so "
        "what it lacks in likelihood is at most this. Grey: extrapolated, one of the two was not run at the compute "
        "it takes.</p>"
    )
    whys = {row["why"] for row in view["gap"] if row["flops"] is None and row.get("why")}
    reasons = "".join(f'<p class="soft">{escape(why)}</p>' for why in sorted(whys))
    return told + gap_tables(view["gap"]) + reasons + beside_section(view)


def gap_tables(rows: list[dict[str, Any]]) -> str:
    """One an axis: a line a compute, a column a form."""
    found = []
    rows = [row for row in rows if row["flops"] is not None]
    forms = [form for form in COLUMNS if any(row["form"] == form for row in rows)]
    for axis in dict.fromkeys(row["axis"] for row in rows):
        by_place = {(round(math.log(row["flops"]), 6), row["form"]): row for row in rows if row["axis"] == axis}
        places = sorted({place for place, _ in by_place})
        lines = [
            [power(math.exp(place)), *(gap_cell(by_place.get((place, form))) for form in forms)] for place in places
        ]
        head = [f"at {axis.upper()} compute", *(COLUMNS[form] for form in forms)]
        found.append(f"<p></p>{table(head, lines, numbers=range(1, len(head)))}")
    return "".join(found)


def gap_cell(row: dict[str, Any] | None) -> str:
    """18.9x with its interval; grey where it is extrapolated."""
    if row is None or row["estimate"] is None:
        return "–"
    form = ".1f" if row["estimate"] < 100 else ",.0f"
    ends = bounds(row, form)
    text = f"{row['estimate']:{form}}x" + (f' <span class="soft">{ends}</span>' if ends != "–" else "")
    return (
        f"<b>{text}</b>" if row["form"] == "overlap" else text if row["inside"] else f'<span class="soft">{text}</span>'
    )


def beside_section(view: dict[str, Any]) -> str:
    """The gaps of other sweeps by the same estimators, and those printed without runs."""
    found = [f"<h3>Beside it, what others measured</h3><p class=soft>{BOUND} there too.</p>"]
    for other in view["beside"]:
        notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in other["notes"])
        rows = [row for row in other["gap"] if row["flops"] <= 1.01 * other["until"]]
        found.append(f"<p><b>{escape(other['name'])}</b></p>{notes}{gap_tables(rows)}")
    found += [f"<p>{escape(who)}: <b>{value:g}x</b> ({escape(what)}).</p>" for who, value, what in view["printed"]]
    return "".join(found)


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
    head = [
        "",
        "exponent in C of",
        "approach 2",
        "95%",
        "95% by runs",
        *(["with all runs"] if every else []),
        "the paper's",
    ]
    told = (
        '<p class="soft">The paper: ' + escape(PAPER) + ", by 6 N D. By runs: runs drawn anew instead of residuals.</p>"
    )
    return table(head, rows, numbers=range(2, len(head))) + told if rows else ""


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
        '<p class="soft">L(N, D) = E + A/N<sup>α</sup> + B/D<sup>β</sup>, Huber loss of log L. The bound of an MDM '
        "with exact conditionals is the entropy of the text, and so is an ARM's least loss: on that common floor "
        "one E rests.</p>"
    )
    return section("Approach 3", told + table(["form", "", "E", "A", "B", "α", "β"], rows, numbers=(2, 3, 4, 5, 6)))


def cell(value: Any) -> str:
    """An estimate with its interval below."""
    if not isinstance(value, dict) or value.get("estimate") is None:
        return "–"
    form = ",.0f" if abs(value["estimate"]) >= 100 else ".1f" if abs(value["estimate"]) >= 10 else ".3f"
    ends = bounds(value, form)
    return format(value["estimate"], form) + (f'<br><span class="soft">{ends}</span>' if ends != "–" else "")


def residual_section(fit: dict[str, Any]) -> str:
    """How far the fit without the largest budget misses it, and what stands against the fit."""
    rows = []
    for name, entry in fit["held_out"].items():
        if entry["flops"] is None:
            continue
        cells = []
        for key in ("approach2", "approach3"):
            said = entry[key]
            cells.append("–" if said["loss"] is None else f"{said['loss']:.4f} ({said['error']:+.4f})")
        rows.append([escape(name.upper()), power(entry["flops"]), f"{entry['measured']['loss']:.4f}", *cells])
    head = ["", "largest budget", "measured L*", "approach 2 without it", "approach 3 without it"]
    told = "<h3>Extrapolation tried out</h3>" + table(head, rows, numbers=(1, 2, 3, 4)) if rows else ""
    stands = [
        [
            escape(row["objective"].upper()),
            "–" if row["flops"] is None else power(row["flops"]),
            escape(row["problem"]),
            escape(row["says"]),
        ]
        for row in fit["diagnostics"]
    ]
    if stands:
        told += "<h3>What stands against the fit</h3>" + table(["", "budget", "", ""], stands, numbers=(1,))
    return told


def repeated_section(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """Where the curves cross, and what the laws of repeated data say."""
    if not view["repeated"]:
        return ""
    parts = []
    for study in view["repeated"]:
        parts.append(f"<p><b>{escape(study['title'])}.</b> {crossing_in_words(study['crossing'], view['pair'])}</p>")
    rows = []
    for name, entry in (fit.get("constrained") or {}).items():
        r_data, epochs = entry["muennighoff"]["R_D"], entry["quokka"].get("best_epochs")
        why = r_data.get("why") if r_data["estimate"] is None else ""
        rows.append([escape(name.upper()), cell(r_data), cell(epochs), escape(why or "")])
    if rows:
        head = ["", "R_D, epochs that repeats are worth (Muennighoff)", "best epochs (Quokka)", ""]
        parts.append(table(head, rows, numbers=(1, 2)))
    return "".join(parts)


def crossing_in_words(crossing: dict[str, Any], pair: Sequence[str] | None) -> str:
    """Both crossings, or why there is none."""
    if pair is None or crossing["lowest"] is None:
        return f"No crossing: {escape(crossing['why'] or 'it takes two objectives')}."
    first, second = (escape(name.upper()) for name in pair)
    lowest = f"the {first}'s lowest loss ({crossing['lowest']:.4f}, at {crossing['lowest_at']:.4g} epochs)"
    if crossing["epochs"] is None:
        told = f"The {second} does not come below {lowest}: {escape(crossing['why'])}."
    else:
        told = f"The {second} comes below {lowest} at {crossing['epochs']:.3g} epochs."
    if crossing["same_epochs"] is not None:
        told += f" At equal epochs it is better from {crossing['same_epochs']:.3g} epochs on."
    return f"{told} {BOUND}."


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
            words += "" if later["inside"] else "; extrapolated"
            rows.append([escape(later["name"]), place, escape(words), value, bounds(said, ".4f"), measured, off])
    told = (
        '<p class="soft">The loss of a run is that of its last validation, on other windows and draws than the sweep '
        "was scored by, and the difference holds that too.</p>"
    )
    head = ["run", "", "prediction", "nats/token", "95%", "measured", "difference"]
    return section("A later run over the prediction", told + table(head, rows, numbers=(3, 4, 5, 6)))


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


# ------------------------------------------------------------------ small parts


def power(number: float) -> str:
    """3 × 10 to the 18, as HTML."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g} × 10<sup>{int(exponent)}</sup>"


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
