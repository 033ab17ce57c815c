"""The picture of `unmask bench decode`: judge perplexity against useful tokens/s, and the tokens' entropy below it.

    plot(result, Path("decode.png"))

One column a cell and batch. The front is joined by a line and named; hollow points are flattered by low entropy
(`bench.pareto`). The dashed line is held-out text under the same judge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.bench.pareto import SLACK, Point, front, points

COLOURS = {"mdm": "#0b7a75", "arm": "#c8553d", "transformers": "#5b6bb0"}
LABELS = {"mdm": "masked diffusion", "arm": "ARM twin", "transformers": "transformers' generate"}
MOST_COLUMNS = 6


def plot(result: dict[str, Any], path: Path) -> None:
    """Two panels a column; the suffix of `path` names the format. Without a judge only the entropy is drawn."""
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    columns = [(cell, str(batch)) for cell in result["cells"] for batch in result["options"]["batch"]][:MOST_COLUMNS]
    figure = Figure(figsize=(6.4 * len(columns) + 0.6, 8.4), layout="constrained")
    grid = figure.subplots(2, len(columns), squeeze=False, sharex="col", height_ratios=(3, 2))
    for column, (cell, batch) in enumerate(columns):
        above, below = grid[0][column], grid[1][column]
        found, real = points(cell, batch), cell["real_text"]
        entropy = real["entropy"]["value"]
        names = front(found, entropy)
        _scatter(above, found, entropy, "perplexity")
        _scatter(below, found, entropy, "entropy")
        _join(above, [point for point in found if point.name in names])
        if "perplexity" in real:
            above.axhline(real["perplexity"]["value"], color="#444444", linestyle="--", linewidth=1)
            above.set_yscale("log")
        below.axhline(entropy, color="#444444", linestyle="--", linewidth=1, label="held-out text")
        below.axhspan(below.get_ylim()[0], entropy - SLACK, color="#c8553d", alpha=0.06)
        above.set_xscale("log")
        above.set_title(f"prompt {cell['prompt']}, length {cell['length']}, batch {batch}")
        below.set_xlabel("useful tokens/s (median)")
        if column == 0:
            judge = result["judge"]["name"] if result["judge"] else "no judge"
            above.set_ylabel(f"perplexity under {judge}, with its standard error")
            below.set_ylabel("entropy of the tokens of a sample, nats")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
        below.legend(loc="best", fontsize=8)
    figure.suptitle(f"{result['threads']} threads; {result['machine']['cpu']}", fontsize=9.5)
    figure.savefig(path, dpi=130)


def _scatter(axes: Any, found: list[Point], entropy: float, value: str) -> None:
    for kind, colour in COLOURS.items():
        own = [p for p in found if p.kind == kind and getattr(p, value) is not None]
        if not own:
            continue
        x, y = [p.speed for p in own], [getattr(p, value) for p in own]
        if value == "perplexity":
            errors = [min(p.se, 0.9 * (p.perplexity or 0.0)) for p in own]
            axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=colour, alpha=0.35, linewidth=1)
        faces = ["none" if p.flattered(entropy) else colour for p in own]
        axes.scatter(x, y, s=34, facecolors=faces, edgecolors=colour, label=LABELS[kind], zorder=3)


def _join(axes: Any, own: list[Point]) -> None:
    """The front as steps, each of its settings named."""
    own = sorted(own, key=lambda p: p.speed)
    if not own:
        return
    axes.step([p.speed for p in own], [p.perplexity for p in own], where="pre", color="#222222", linewidth=1, alpha=0.6)
    for index, p in enumerate(own):
        offset = (-4, 9) if index % 2 else (4, -13)
        align = "right" if index % 2 else "left"
        axes.annotate(p.name, (p.speed, p.perplexity), xytext=offset, textcoords="offset points", fontsize=7.5, ha=align)
