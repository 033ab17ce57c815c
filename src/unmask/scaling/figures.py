"""The pictures of a scaling report, drawn by matplotlib from the numbers of its view (`view.py`) and nothing else.

    figures = draw(view)                             # {"isoflop": Figure, "frontier": ..., "gap": ..., ...}
    write(figures, Path("report"))                   # isoflop.png, isoflop.svg, ...

Colours and style are those of the demo's pictures. What the fit leaves out is hollow, what it extrapolates is dashed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.pages import svg_of
from unmask.scaling.estimates import power
from unmask.scaling.figure_parts import fitted_line, legend_below, log_axis, new_figure, note, plain_ticks
from unmask.scaling.gap_figure import gap_figure
from unmask.style import COLOURS, INK, SOFT, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (COLOURS["arm"], COLOURS["mdm"], COLOURS["xz"], COLOURS["unigram"])
PANELS = (
    ("loss", "lowest loss L*, nats/token"),
    ("params", "optimal size N*, parameters"),
    ("tokens", "optimal tokens D*"),
)
MARKERS = "osD^vPX*"
DPI = 160


def draw(view: dict[str, Any]) -> dict[str, Figure]:
    """Every picture that the view has numbers for, by the name of its files."""
    drawn: dict[str, Figure] = {}
    with _style():
        for name, (wanted, paint) in DRAWN.items():
            if wanted(view):
                drawn[name] = paint(view)
                drawn[name].draw_without_rendering()
                drawn[name].set_layout_engine("none")  # the layout stays, and no file takes the time for it again
    return drawn


def write(figures: dict[str, Figure], folder: Path) -> dict[str, str]:
    """A PNG and an SVG of each; the text of the SVGs by name. Raises OSError."""
    texts = {}
    with _style():
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
            texts[name] = svg_of(figure)
            (folder / f"{name}.svg").write_text(texts[name], encoding="utf-8")
    return texts


def colour_of(view: dict[str, Any], objective: str) -> str:
    """An objective's own colour, or by its place in the file."""
    if objective in ("arm", "mdm"):
        return COLOURS[objective]
    return PALETTE[view["objectives"].index(objective) % len(PALETTE)]


# ------------------------------------------------------------------ the pictures


def isoflop(view: dict[str, Any]) -> Figure:
    """A panel an objective: loss over size, a parabola a budget, its lowest point, the left-out runs hollow."""
    names = view["objectives"]
    figure = new_figure(5.3 * len(names), 4.4)
    grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(grid, names, strict=True):
        colour = colour_of(view, name)
        curves = view["budgets"].get(name, [])
        shades = {curve["flops"]: 0.35 + 0.65 * (i + 1) / len(curves) for i, curve in enumerate(curves)}
        own = [run for run in view["runs"] if run["objective"] == name]
        places = [(run["params"], run["loss"], bool(run["excluded"]), _shade(shades, run["flops"])) for run in own]
        _points(axes, places, colour)
        for curve in curves:
            axes.plot(curve["curve"][0], curve["curve"][1], color=colour, linewidth=1.4, alpha=shades[curve["flops"]])
            note(axes, power(curve["flops"]), (curve["curve"][0][-1], curve["curve"][1][-1]), (5, 0), va="center")
            if curve["counts"]:
                axes.plot(curve["params"], curve["loss"], marker="*", markersize=12, color=INK, markeredgewidth=0)
        log_axis(axes, "size N, non-embedding parameters")
        axes.set_title(name.upper(), loc="left", fontweight="bold")
        axes.margins(x=0.14)
    grid[0].set_ylabel("held-out loss, nats/token")
    grid[-1].plot([], [], "*", color=INK, markersize=10, markeredgewidth=0, label="lowest point of a parabola")
    if any(run["excluded"] for run in view["runs"]):
        grid[-1].plot([], [], "o", color=SOFT, markerfacecolor="none", label="left out of the fit")
    legend_below(figure, grid[-1])
    return figure


def frontier(view: dict[str, Any]) -> Figure:
    """L*, N* and D* over compute with bands; the minima as points; dashed where no budget was measured."""
    figure = new_figure(11, 4.3)
    grid = figure.subplots(1, len(PANELS))
    for axes, (which, label) in zip(grid, PANELS, strict=True):
        for name in view["objectives"]:
            _frontier_line(axes, view, name, which)
        for later in view["over"]:
            _later_run(axes, view, later, which)
        log_axis(axes, "training compute C, FLOPs")
        axes.set_yscale("log")
        if which == "loss":
            plain_ticks(axes)
        axes.set_title(label, loc="left", fontweight="bold", fontsize=10.5)
    legend_below(figure, *grid)
    return figure


def residuals(view: dict[str, Any]) -> Figure:
    """What the fits leave of each run's loss: about its budget's parabola, and about approach 3's surface."""
    forms = [name for name in ("approach2", "approach3") if any(name in run["residuals"] for run in view["runs"])]
    titles = {"approach2": "about the parabolas (approach 2)", "approach3": "about L(N, D) (approach 3)"}
    figure = new_figure(5.3 * len(forms), 3.9)
    grid = figure.subplots(1, len(forms), squeeze=False, sharey=True)[0]
    for axes, form in zip(grid, forms, strict=True):
        axes.axhline(0, color=SOFT, linewidth=1)
        for name in view["objectives"]:
            colour, where = colour_of(view, name), 1.06 if name == view["objectives"][-1] else 1 / 1.06
            rows = [run for run in view["runs"] if run["objective"] == name and form in run["residuals"]]
            places = [(run["flops"] * where, 100 * run["residuals"][form], False, 0.8) for run in rows]
            _points(axes, places, colour)
            axes.plot([], [], "o", color=colour, label=name.upper())
        log_axis(axes, "training compute C, FLOPs")
        axes.set_title(titles[form], loc="left", fontweight="bold")
    grid[0].set_ylabel("loss measured / fitted − 1, %")
    grid[-1].legend(loc="best", fontsize=9)
    return figure


def repeated(view: dict[str, Any]) -> Figure:
    """Loss over epochs of the same few tokens: final weights solid, best checkpoints hollow, the best up to there
    dashed; where curves cross."""
    studies = view["repeated"]
    figure = new_figure(8.4 * len(studies), 4.2)
    for axes, study in zip(figure.subplots(1, len(studies), squeeze=False)[0], studies, strict=True):
        before: Counter[str] = Counter()  # lines of each objective, which differ by their markers
        for series in study["series"]:
            marker = MARKERS[before[series["objective"]] % len(MARKERS)]
            style: dict[str, Any] = {"color": colour_of(view, series["objective"]), "marker": marker}
            style["alpha"] = 0.95 if not before[series["objective"]] else 0.6
            before[series["objective"]] += 1
            axes.plot(series["epochs"], series["final"], markersize=5, label=series["label"], **style)
            if series["best"] is not None:
                axes.plot(series["epochs"], series["best"], "--", linewidth=1.2, **style | {"marker": ""})
            if series["checkpoints"]:
                hollow = {"markerfacecolor": "none", "markersize": 8, "linestyle": "none", **style}
                axes.plot(*zip(*series["checkpoints"], strict=True), **hollow)
        if any(series["checkpoints"] for series in study["series"]):
            axes.plot([], [], "--o", color=INK, markerfacecolor="none", markersize=8, label="the best on the way")
        crossing = study["crossing"]
        if crossing["epochs"] is not None:
            axes.axvline(crossing["epochs"], color=SOFT, linewidth=1, linestyle=":")
            words, where = f"cross at {crossing['epochs']:.3g} epochs", (crossing["epochs"], 1)
            note(axes, words, where, (-4, -4), xycoords=("data", "axes fraction"), ha="right", va="top")
        log_axis(axes, "epochs of the same tokens")
        axes.set_title(study["title"], loc="left", fontweight="bold", fontsize=10.5)
        axes.set_ylabel("held-out loss, nats/token")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False, fontsize=9)
    return figure


DRAWN: dict[str, tuple[Callable[[dict[str, Any]], Any], Callable[[dict[str, Any]], Figure]]] = {
    "isoflop": (lambda view: view["runs"], isoflop),
    "frontier": (lambda view: view["frontier"], frontier),
    "gap": (lambda view: any(row["estimate"] for row in view["gap"]), gap_figure),
    "residuals": (lambda view: any(run["residuals"] for run in view["runs"]), residuals),
    "repeated": (lambda view: view["repeated"], repeated),
}


# ------------------------------------------------------------------ their parts


def _points(axes: Axes, places: list[tuple[float, float, bool, float]], colour: str) -> None:
    """(x, y, hollow, alpha) each; those that look alike are drawn together."""
    for hollow, alpha in dict.fromkeys(place[2:] for place in places):
        x, y = zip(*(place[:2] for place in places if place[2:] == (hollow, alpha)), strict=True)
        face = "none" if hollow else colour
        axes.plot(x, y, "o", color=colour, markerfacecolor=face, markersize=5, alpha=alpha, markeredgewidth=1)


def _shade(shades: dict[float, float], flops: float) -> float:
    """That of the nearest budget."""
    if not shades:
        return 0.8
    return shades[min(shades, key=lambda budget: abs(math.log(budget / flops)))]


def _frontier_line(axes: Axes, view: dict[str, Any], name: str, which: str) -> None:
    colour = colour_of(view, name)
    line = view["frontier"].get(name)
    for curve in view["budgets"].get(name, []):
        if curve["counts"]:
            axes.plot(curve["flops"], curve[which], "o", color=colour, markersize=5)
    if line is None:
        return
    flops, values, (first, last) = line["flops"], line[which], line["range"]
    inside = [first <= c <= last for c in flops]
    points = list(zip(flops, values["estimate"], values["low"], values["high"], inside, strict=True))
    label = f"{name.upper()}, approach 2" + (" (loss: an upper bound)" if name == "mdm" else "")
    fitted_line(axes, points, colour, label, width=2, dark=0.16)
    other = line.get("approach3", {}).get(which, [])
    if known := [(c, v) for c, v in zip(flops, other, strict=False) if v is not None]:
        axes.plot(
            *zip(*known, strict=True), color=colour, linewidth=1.1, linestyle=":", label=f"{name.upper()}, approach 3"
        )


def _later_run(axes: Axes, view: dict[str, Any], later: dict[str, Any], which: str) -> None:
    colour = colour_of(view, later["objective"])
    if which == "loss":
        axes.plot(later["curve"]["flops"], later["curve"]["loss"], color=INK, linewidth=1, alpha=0.7)
    style: dict[str, Any] = {"color": INK, "markerfacecolor": colour, "label": f"later run: {later['name']}"}
    axes.plot(later["flops"], later[which], marker="X", markersize=10, linestyle="none", **style)


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context(STYLE)
