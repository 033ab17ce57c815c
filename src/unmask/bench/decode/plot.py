"""The picture of `unmask bench decode`: the judge's bits per byte against useful tokens/s, and the entropy below.

    plot(result, Path("decode.png"))

One column a cell and batch. The front is joined by a line and named; hollow points are flattered by low entropy
(`pareto.py`), and named in grey where they would be on the front. The dashed line is held-out text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.bench.decode.pareto import SLACK, Point, front, points
from unmask.style import BLUE, COLOURS, DASHED, FAINT, INK, drawn, logarithmic

KIND_COLOURS = {"mdm": COLOURS["mdm"], "arm": COLOURS["arm"], "transformers": BLUE}
LABELS = {"mdm": "masked diffusion", "arm": "ARM twin", "transformers": "transformers' generate"}
MOST_COLUMNS = 6


def plot(result: dict[str, Any], path: Path) -> None:
    """Two panels a column; the suffix of `path` names the format. Without a judge only the entropy is drawn."""
    columns = [(cell, str(batch)) for cell in result["cells"] for batch in result["options"]["batch"]][:MOST_COLUMNS]
    shape: dict[str, Any] = {"rows": 2, "columns": len(columns), "sharex": "col", "height_ratios": (3, 2)}
    with drawn(path, 6.4 * len(columns) + 0.6, 8.4, **shape) as (figure, grid):
        for (above, below), (cell, batch) in zip(grid.T, columns, strict=True):
            _column(above, below, cell, batch)
        judge = result["judge"]["name"] if result["judge"] else "no judge"
        grid[0, 0].set_ylabel(f"bits per byte under {judge} (lower is better)")
        grid[1, 0].set_ylabel("entropy within a sample, nats")
        figure.suptitle(f"threads: {result['threads']}; {result['machine']['cpu']}", fontsize=9.5)


def _column(above: Any, below: Any, cell: dict[str, Any], batch: str) -> None:
    """The judge's word above, the entropy below, of one cell and batch."""
    measured, real = points(cell, batch), cell["real_text"]
    entropy = real["entropy"]["value"]
    _scatter(above, measured, entropy, "bits")
    _scatter(below, measured, entropy, "entropy")
    honest = front(measured, entropy)
    _name(above, measured, honest, INK, joined=True)
    _name(above, measured, front(measured, None) - honest, FAINT, joined=False)
    if "bits_per_byte" in real:
        above.axhline(real["bits_per_byte"]["value"], color=DASHED, linestyle="--", linewidth=1)
    below.axhline(entropy, color=DASHED, linestyle="--", linewidth=1, label="held-out text")
    below.axhspan(below.get_ylim()[0], entropy - SLACK, color=COLOURS["arm"], alpha=0.06)
    logarithmic(above, "x", "{x:,.0f}")
    above.margins(x=0.14)
    above.set_title(f"prompt {cell['prompt']}, length {cell['length']}, batch {batch}")
    below.set_xlabel("useful tokens/s (median)")
    below.legend(loc="best", fontsize=8)


def _scatter(axes: Any, measured: list[Point], entropy: float, value: str) -> None:
    for kind, colour in KIND_COLOURS.items():
        own = [p for p in measured if p.kind == kind and getattr(p, value) is not None]
        if not own:
            continue
        x, y = [p.speed for p in own], [getattr(p, value) for p in own]
        if value == "bits":
            axes.errorbar(x, y, yerr=[p.se for p in own], fmt="none", ecolor=colour, alpha=0.35, linewidth=1)
        faces = ["none" if p.flattered(entropy) else colour for p in own]
        axes.scatter(x, y, s=34, facecolors=faces, edgecolors=colour, label=LABELS[kind], zorder=3)


def _name(axes: Any, measured: list[Point], names: set[str], colour: str, joined: bool) -> None:
    """Writes the names of some settings beside them, and joins these by steps."""
    own = sorted((p for p in measured if p.name in names), key=lambda p: p.speed)
    if joined and own:
        axes.step([p.speed for p in own], [p.bits for p in own], where="pre", color=colour, linewidth=1, alpha=0.6)
    middle = sorted(p.speed for p in measured)[len(measured) // 2]
    for index, p in enumerate(own):
        # Towards the middle of the picture, and in turns above and below, so that neighbours stay legible.
        side, across = ("right", -5) if p.speed > 1.2 * middle else ("left", 5)
        where = {"xytext": (across, -12 if index % 2 else 8), "textcoords": "offset points", "ha": side}
        axes.annotate(p.name, (p.speed, p.bits), fontsize=7.5, color=colour, **where)
