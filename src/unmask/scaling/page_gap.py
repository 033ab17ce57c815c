"""The report's section on the gap in compute: every form by the compute of either objective, published gaps beside it.

gap_section(view)                       # HTML
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

from unmask.pages import table
from unmask.scaling.gap import on_sources
from unmask.scaling.page_parts import bounds, plain_power, power
from unmask.scaling.published import BOUND

# forms of a gap as columns of a table
COLUMNS = {
    "overlap": "minima, interpolated",
    "approach2": "approach 2",
    "approach3_shared": "approach 3, one E",
    "approach3": "approach 3, an E each",
}


def gap_section(view: dict[str, Any]) -> str:
    """The gaps of every form, by the compute of either objective, with those that others published."""
    if view["pair"] is None:
        return ""
    first, second = (escape(name.upper()) for name in view["pair"])
    intro = (
        f"<p>How many times the compute of the {first} the {second} takes to reach the same loss. <b>{BOUND}</b>, so "
        "what it lacks in likelihood is at most this. Grey: extrapolated, one of the two was not run at the compute "
        "it takes.</p>"
    )
    whys = {row["why"] for row in view["gap"] if row["flops"] is None and row.get("why")}
    reasons = "".join(f'<p class="soft">{escape(why)}</p>' for why in sorted(whys))
    return intro + gap_tables(view["gap"]) + reasons + beside_section(view)


def gap_tables(rows: list[dict[str, Any]]) -> str:
    """One an axis: a line a compute, a column a form."""
    tables = []
    rows = [row for row in rows if row["flops"] is not None]
    forms = [form for form in COLUMNS if any(row["form"] == form for row in rows)]
    for axis in dict.fromkeys(row["axis"] for row in rows):
        by_place = {(round(math.log(row["flops"]), 6), row["form"]): row for row in rows if row["axis"] == axis}
        places = sorted({place for place, _ in by_place})
        lines = [
            [power(math.exp(place)), *(gap_cell(by_place.get((place, form))) for form in forms)] for place in places
        ]
        head = [f"at {axis.upper()} compute", *(COLUMNS[form] for form in forms)]
        tables.append(f"<p></p>{table(head, lines, numbers=range(1, len(head)))}")
    return "".join(tables)


def source_table(fit: dict[str, Any]) -> str:
    """The headline form on each source of the held-out text; empty where the runs tell of none."""
    if not fit["by_source"]:
        return ""
    places, found = on_sources(fit)
    lines = [[escape(name), *(gap_cell(row, "<br>") for row in own)] for name, own in found.items()]
    head = ["source of the text (tokens)", *(f"at {axis.upper()} {plain_power(flops)}" for axis, flops in places)]
    return f"<h3>By source of the held-out text</h3>{table(head, lines, numbers=range(1, len(head)))}"


def gap_cell(row: dict[str, Any] | None, between: str = " ") -> str:
    """18.9x with its interval, fat where it is measured and grey where it is extrapolated."""
    if row is None or row["estimate"] is None:
        return "–"
    form = ".1f" if row["estimate"] < 100 else ",.0f"
    ends = bounds(row, form)
    number = f"{row['estimate']:{form}}x"
    number = f"<b>{number}</b>" if row["form"] == "overlap" else number
    text = number + (f'{between}<span class="soft">{ends}</span>' if ends != "–" else "")
    return text if row["inside"] else f'<span class="soft">{text}</span>'


def beside_section(view: dict[str, Any]) -> str:
    """The gaps of other sweeps by the same estimators, and those printed without runs."""
    parts = [f"<h3>Beside it, what others measured</h3><p class=soft>{BOUND} there too.</p>"]
    for other in view["beside"]:
        notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in other["notes"])
        rows = [row for row in other["gap"] if row["flops"] <= 1.01 * other["until"]]
        parts.append(f"<p><b>{escape(other['name'])}</b></p>{notes}{gap_tables(rows)}")
    parts += [f"<p>{escape(who)}: <b>{value:g}x</b> ({escape(what)}).</p>" for who, value, what in view["printed"]]
    return "".join(parts)
