"""The pictures of a scaling report, drawn by matplotlib from the numbers of its view (`view.py`) and nothing else.

    figures = draw(view)                             # {"isoflop": Figure, "frontier": ..., "gap": ..., ...}
    write(figures, Path("report"))                   # isoflop.png, isoflop.svg, ...

Colours and style are those of the demo's pictures. What the fit leaves out is hollow, what it extrapolates is dashed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.evaluation.plots import COLOURS, INK, SOFT, STYLE, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (COLOURS["arm"], COLOURS["mdm"], COLOURS["xz"], COLOURS["unigram"])
PANELS = (
    ("loss", "lowest loss L*, nats/token"),
    ("params", "optimal size N*, parameters"),
    ("tokens", "optimal tokens D*"),
)
# form of a gap: (words, colour, how dark its band is)
FORMS = {
    "overlap": ("minima, interpolated (headline)", INK, 0.0),
    "approach2": ("approach 2, lines of L*", COLOURS["xz"], 0.16),
    "approach3_shared": ("approach 3, one E", COLOURS["mdm"], 0.12),
    "approach3": ("approach 3, an E each", COLOURS["unigram"], 0.08),
}
BESIDE = ("D", "s", "^", "v", "P")
DPI = 160
FARTHEST = 20  # times the largest compute at which a gap was measured: as far as lines are drawn


def draw(view: dict[str, Any]) -> dict[str, Figure]:
    """Every picture that the view has numbers for, by the name of its files."""
    found: dict[str, Figure] = {}
    with _style():
        for name, (wanted, paint) in DRAWN.items():
            if wanted(view):
                found[name] = paint(view)
                found[name].draw_without_rendering()
                found[name].set_layout_engine("none")  # the layout stays, and no file takes the time for it again
    return found


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


def power(number: float) -> str:
    """3e+18 as 3e18, the way the command line takes it."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


# ------------------------------------------------------------------ the pictures


def isoflop(view: dict[str, Any]) -> Figure:
    """A panel an objective: loss over size, a parabola a budget, its lowest point, the left-out runs hollow."""
    names = view["objectives"]
    figure = _figure(5.3 * len(names), 4.4)
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
            axes.annotate(
                power(curve["flops"]),
                (curve["curve"][0][-1], curve["curve"][1][-1]),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=SOFT,
            )
            if curve["counts"]:
                axes.plot(curve["params"], curve["loss"], marker="*", markersize=12, color=INK, markeredgewidth=0)
        _log(axes, "size N, non-embedding parameters")
        axes.set_title(name.upper(), loc="left", fontweight="bold")
        axes.margins(x=0.14)
    grid[0].set_ylabel("held-out loss, nats/token")
    grid[-1].plot([], [], "*", color=INK, markersize=10, markeredgewidth=0, label="lowest point of a parabola")
    if any(run["excluded"] for run in view["runs"]):
        grid[-1].plot([], [], "o", color=SOFT, markerfacecolor="none", label="left out of the fit")
    _legend_below(figure, grid[-1])
    return figure


def frontier(view: dict[str, Any]) -> Figure:
    """L*, N* and D* over compute with bands; the minima as points; dashed where no budget was measured."""
    figure = _figure(11, 4.3)
    grid = figure.subplots(1, len(PANELS))
    for axes, (which, label) in zip(grid, PANELS, strict=True):
        for name in view["objectives"]:
            _frontier_line(axes, view, name, which)
        for later in view["over"]:
            _later_run(axes, view, later, which)
        _log(axes, "training compute C, FLOPs")
        axes.set_yscale("log")
        if which == "loss":
            _plain_ticks(axes)
        axes.set_title(label, loc="left", fontweight="bold", fontsize=10.5)
    _legend_below(figure, *grid)
    return figure


def gap(view: dict[str, Any]) -> Figure:
    """How many times the compute an MDM takes for an ARM's loss: a panel for each axis that the fit has.

    What others measured at compute of another order stands in a panel of its own, on the same scale of gaps.
    """
    rows = [row for row in view["gap"] if row["flops"] is not None]
    axis_names = list(dict.fromkeys(row["axis"] for row in rows))
    far = bool(view["beside"]) and _far(rows, view["beside"])
    widths = [1.0] * len(axis_names) + [0.7] * far
    figure = _figure(5.6 * sum(widths), 4.6)
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
        _log(axes, f"compute of the {axis.upper()}, FLOPs")
    if far:
        _gap_others(grid[-1], view, axis_names[-1])
        grid[-1].set_title("what others measured", loc="left", fontweight="bold")
        _log(grid[-1], f"compute of the {axis_names[-1].upper()}, FLOPs")
    grid[0].set_yscale("log")
    grid[0].set_ylim(*_gap_range(view))
    _plain_ticks(grid[0])
    first, second = view["pair"]
    bound = " (the MDM's: an upper bound)" if "mdm" in view["pair"] else ""
    grid[0].set_ylabel(f"compute of the {second.upper()} / of the {first.upper()}\nat equal loss{bound}")
    _legend_below(figure, *grid)
    return figure


def residuals(view: dict[str, Any]) -> Figure:
    """What the fits leave of each run's loss: about its budget's parabola, and about approach 3's surface."""
    forms = [name for name in ("approach2", "approach3") if any(name in run["residuals"] for run in view["runs"])]
    titles = {"approach2": "about the parabolas (approach 2)", "approach3": "about L(N, D) (approach 3)"}
    figure = _figure(5.3 * len(forms), 3.9)
    grid = figure.subplots(1, len(forms), squeeze=False, sharey=True)[0]
    for axes, form in zip(grid, forms, strict=True):
        axes.axhline(0, color=SOFT, linewidth=1)
        for name in view["objectives"]:
            colour, where = colour_of(view, name), 1.06 if name == view["objectives"][-1] else 1 / 1.06
            rows = [run for run in view["runs"] if run["objective"] == name and form in run["residuals"]]
            places = [(run["flops"] * where, 100 * run["residuals"][form], False, 0.8) for run in rows]
            _points(axes, places, colour)
            axes.plot([], [], "o", color=colour, label=name.upper())
        _log(axes, "training compute C, FLOPs")
        axes.set_title(titles[form], loc="left", fontweight="bold")
    grid[0].set_ylabel("loss measured / fitted − 1, %")
    grid[-1].legend(loc="best", fontsize=9)
    return figure


def repeated(view: dict[str, Any]) -> Figure:
    """Loss over epochs of the same few tokens: final weights solid, the best up to there dashed; where curves cross."""
    studies = view["repeated"]
    figure = _figure(5.6 * len(studies), 4.2)
    for axes, study in zip(figure.subplots(1, len(studies), squeeze=False)[0], studies, strict=True):
        for series in study["series"]:
            colour = colour_of(view, series["objective"])
            axes.plot(series["epochs"], series["final"], "o-", color=colour, markersize=4, label=series["label"])
            if series["best"] is not None:
                axes.plot(series["epochs"], series["best"], "--", color=colour, linewidth=1.2, alpha=0.8)
        crossing = study["crossing"]
        if crossing["epochs"] is not None:
            axes.axvline(crossing["epochs"], color=SOFT, linewidth=1, linestyle=":")
            axes.annotate(
                f"cross at {crossing['epochs']:.3g} epochs",
                (crossing["epochs"], 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4, -4),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=8.5,
                color=SOFT,
            )
        _log(axes, "epochs of the same tokens")
        axes.set_title(study["title"], loc="left", fontweight="bold", fontsize=10.5)
        axes.set_ylabel("held-out loss, nats/token")
        axes.legend(loc="best", fontsize=8.5)
    return figure


DRAWN: dict[str, tuple[Callable[[dict[str, Any]], Any], Callable[[dict[str, Any]], Figure]]] = {
    "isoflop": (lambda view: view["runs"], isoflop),
    "frontier": (lambda view: view["frontier"], frontier),
    "gap": (lambda view: any(row["estimate"] for row in view["gap"]), gap),
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


def _legend_below(figure: Figure, *several: Axes) -> None:
    """One legend under all panels, where it covers nothing."""
    found: dict[str, Any] = {}
    for axes in several:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    columns = len(found) if len(found) < 5 else 3
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def _frontier_line(axes: Axes, view: dict[str, Any], name: str, which: str) -> None:
    colour = colour_of(view, name)
    line = view["frontier"].get(name)
    for curve in view["budgets"].get(name, []):
        if curve["counts"]:
            axes.plot(curve["flops"], curve[which], "o", color=colour, markersize=5)
    if line is None:
        return
    flops, values = line["flops"], line[which]
    inside = [low <= c <= high for c in flops for low, high in [line["range"]]]
    axes.plot(flops, values["estimate"], color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
    within = [(c, v) for c, v, ok in zip(flops, values["estimate"], inside, strict=True) if ok]
    label = f"{name.upper()}, approach 2" + (" (loss: an upper bound)" if name == "mdm" else "")
    if within:
        axes.plot(*zip(*within, strict=True), color=colour, linewidth=2, label=label)
    band = [(c, a, b) for c, a, b in zip(flops, values["low"], values["high"], strict=True) if a is not None]
    if band:
        axes.fill_between(*zip(*band, strict=True), color=colour, alpha=0.16, linewidth=0)
    other = line.get("approach3", {}).get(which, [])
    if known := [(c, v) for c, v in zip(flops, other, strict=False) if v is not None]:
        axes.plot(
            *zip(*known, strict=True), color=colour, linewidth=1.1, linestyle=":", label=f"{name.upper()}, approach 3"
        )


def _later_run(axes: Axes, view: dict[str, Any], later: dict[str, Any], which: str) -> None:
    colour = colour_of(view, later["objective"])
    if which == "loss":
        axes.plot(later["curve"]["flops"], later["curve"]["loss"], color=INK, linewidth=1, alpha=0.7)
    axes.plot(
        later["flops"],
        later[which],
        marker="X",
        markersize=10,
        linestyle="none",
        color=INK,
        markerfacecolor=colour,
        label=f"later run: {later['name']}",
    )


def _gap_form(axes: Axes, entries: list[dict[str, Any]], form: str) -> None:
    words, colour, dark = FORMS[form]
    entries = sorted((e for e in entries if e["estimate"] is not None), key=lambda e: e["flops"])
    if not entries:
        return
    x, y = [e["flops"] for e in entries], [e["estimate"] for e in entries]
    if form == "overlap":
        _points_with_ends(axes, entries, "o", color=colour, markersize=7, label=words, zorder=5)
        return
    axes.plot(x, y, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
    inside = [(e["flops"], e["estimate"]) for e in entries if e["inside"]]
    axes.plot(*(zip(*inside, strict=True) if inside else ([], [])), color=colour, linewidth=2.2, label=words)
    band = [(e["flops"], e["low"], e["high"]) for e in entries if e["low"] is not None and e["high"] is not None]
    if band:
        axes.fill_between(*zip(*band, strict=True), color=colour, alpha=dark, linewidth=0)


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
        axes.annotate(
            f"{who}: {value:g}x as printed",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
            color=SOFT,
        )


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


def _log(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(label)


def _plain_ticks(axes: Axes) -> None:
    """Numbers as they are read, not as powers of ten, on an axis that spans little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.yaxis.set_major_locator(LogLocator(subs=_subs(axes.get_ylim())))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _subs(limits: Iterable[float]) -> tuple[float, ...]:
    low, high = limits
    decades = math.log10(high / low)
    if decades < 0.5:
        return tuple(1 + i / 5 for i in range(45))
    return (1, 1.5, 2, 3, 4, 5, 7) if decades < 1.2 else (1, 2, 5)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    return Figure(figsize=(width, height), layout="constrained")


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context(STYLE)
