"""The picture of the compute gap: measured points, lines with bands, and what others measured beside them.

    figure = gap_figure(view)                        # a panel for each axis, in the style that is set around it

What one of the two was not run for is dashed. Lines end a little beyond the compute of the last measured gap:
how far they go on is not how far they can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unmask.scaling.figure_parts import fitted_line, legend_below, log_axis, new_figure, note, plain_ticks
from unmask.style import COLOURS, INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# form of a gap: (words, colour, how dark its band is)
FORMS = {
    "overlap": ("minima, interpolated (headline)", INK, 0.0),
    "approach2": ("approach 2, lines of L*", COLOURS["xz"], 0.16),
    "approach3_shared": ("approach 3, one E", COLOURS["mdm"], 0.12),
    "approach3": ("approach 3, an E each", COLOURS["unigram"], 0.08),
}
BESIDE = ("D", "s", "^", "v", "P")
FARTHEST = 20  # times the largest compute at which a gap was measured: as far as lines are drawn


def gap_figure(view: dict[str, Any]) -> Figure:
    """How many times the compute an MDM takes for an ARM's loss: a panel for each axis that the fit has.

    What others measured at compute of another order stands in a panel of its own, on the same scale of gaps.
    """
    rows = [row for row in view["gap"] if row["flops"] is not None]
    axis_names = list(dict.fromkeys(row["axis"] for row in rows))
    far = bool(view["beside"]) and _far(rows, view["beside"])
    widths = [1.0] * len(axis_names) + [0.7] * far
    figure = new_figure(5.6 * sum(widths), 4.6)
    grid = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0]
    for axes, axis in zip(grid, axis_names, strict=False):
        reach = FARTHEST * max(
            (row["flops"] for row in rows if row["axis"] == axis and row["inside"]), default=math.inf
        )
        for form in FORMS:
            _gap_form(axes, [r for r in rows if (r["axis"], r["form"]) == (axis, form) and r["flops"] <= reach], form)
        axes.set_title(f"by {axis.upper()} compute", loc="left", fontweight="bold")
        if not far:
            _gap_others(axes, view, axis)
        log_axis(axes, f"compute of the {axis.upper()}, FLOPs")
    if far:
        _gap_others(grid[-1], view, axis_names[-1])
        grid[-1].set_title("what others measured", loc="left", fontweight="bold")
        log_axis(grid[-1], f"compute of the {axis_names[-1].upper()}, FLOPs")
    grid[0].set_yscale("log")
    grid[0].set_ylim(*_gap_range(view))
    plain_ticks(grid[0])
    first, second = view["pair"]
    bound = " (the MDM's: an upper bound)" if "mdm" in view["pair"] else ""
    grid[0].set_ylabel(f"compute of the {second.upper()} / of the {first.upper()}\nat equal loss{bound}")
    legend_below(figure, *grid)
    return figure


def _gap_form(axes: Axes, entries: list[dict[str, Any]], form: str) -> None:
    words, colour, dark = FORMS[form]
    entries = sorted((e for e in entries if e["estimate"] is not None), key=lambda e: e["flops"])
    if not entries:
        return
    if form == "overlap":
        _points_with_ends(axes, entries, "o", color=colour, markersize=7, label=words, zorder=5)
        return
    points = [(e["flops"], e["estimate"], e["low"], e["high"], e["inside"]) for e in entries]
    fitted_line(axes, points, colour, words, width=2.2, dark=dark)


def _far(rows: list[dict[str, Any]], beside: list[dict[str, Any]]) -> bool:
    """Whether all that others measured lies beyond what this sweep's panels show."""
    own = [row["flops"] for row in rows if row["inside"]] or [row["flops"] for row in rows]
    others = [row["flops"] for other in beside for row in other["gap"] if row["flops"] <= other["until"]]
    return bool(others) and (min(others) > FARTHEST * max(own) or max(others) < min(own) / FARTHEST)


def _gap_others(axes: Axes, view: dict[str, Any], axis: str) -> None:
    for number, other in enumerate(view["beside"]):
        _gap_beside(axes, other, axis, number)
    for who, value, _ in view["printed"]:
        axes.axhline(value, color=SOFT, linewidth=1, linestyle=":")
        words, place = f"{who}: {value:g}x as printed", ("axes fraction", "data")
        note(axes, words, (1, value), (0, -3), xycoords=place, ha="right", va="top")


def _gap_beside(axes: Axes, other: dict[str, Any], axis: str, number: int) -> None:
    entries = [e for e in other["gap"] if e["axis"] == axis and e["form"] == "overlap" and e["estimate"] is not None]
    lines = [e for e in other["gap"] if e["axis"] == axis and e["form"] == "approach2" and e["estimate"] is not None]
    lines = [e for e in lines if e["flops"] <= other["until"] * 1.01]
    colour = COLOURS["arm"]
    style = {"color": colour, "markerfacecolor": "none", "markersize": 6.5, "label": f"{other['name']}, minima"}
    if entries:
        _points_with_ends(axes, entries, BESIDE[number % len(BESIDE)], zorder=4, **style)
    if lines:
        x, y = [e["flops"] for e in lines], [e["estimate"] for e in lines]
        dashes = ("-.", (0, (1, 1)), "--")[number % 3]
        axes.plot(x, y, color=colour, linewidth=1.2, linestyle=dashes, label=f"{other['name']}, lines of L*")


def _points_with_ends(axes: Axes, entries: Sequence[dict[str, Any]], mark: str, **style: Any) -> None:
    """Points with the ends of their intervals, where they have any."""
    axes.plot([e["flops"] for e in entries], [e["estimate"] for e in entries], mark, **style)
    for e in entries:
        if e["low"] is not None and e["high"] is not None:
            ends = [[e["estimate"] - e["low"]], [e["high"] - e["estimate"]]]
            axes.errorbar(e["flops"], e["estimate"], yerr=ends, fmt="none", ecolor=style["color"], capsize=3)


def _gap_range(view: dict[str, Any]) -> tuple[float, float]:
    """Room for what is measured and what others measured; the extrapolation of approach 3 may leave the picture."""
    steady = [e for e in view["gap"] if e["form"] in ("overlap", "approach2") and e["estimate"]] or view["gap"]
    steady += [e for other in view["beside"] for e in other["gap"] if e["flops"] <= other["until"]]
    values = [e[k] for e in steady for k in ("estimate", "low", "high") if e[k] is not None and e[k] > 0]
    values += [value for _, value, _ in view["printed"]]
    middle = sorted(values)[len(values) // 2]
    return max(min(values) / 1.5, middle / 20), min(max(values) * 1.8, middle * 20)
