"""Pictures of experiments in one style: that of the demo's report.

    with picture(folder / "reversal.png", 9, 4, columns=2) as axes: axes[0].plot(...)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unmask.style import COLOURS, INK, drawn

MDM, ARM, OTHER, SOFT = COLOURS["mdm"], COLOURS["arm"], COLOURS["xz"], COLOURS["unigram"]


@contextmanager
def picture(path: Path, width: float, height: float, columns: int = 1, rows: int = 1) -> Iterator[list[Any]]:
    """Axes in reading order; saved as PNG when the block ends well."""
    with drawn(path, width, height, rows, columns) as (_, grid):
        yield list(grid.flat)


def bars(axes: Any, names: list[str], figures: list[dict[str, Any]], colours: list[str], scale: float = 100) -> None:
    """Figures as bars with their intervals, each with its number on top."""
    values = [scale * figure["estimate"] for figure in figures]
    below = [scale * (figure["estimate"] - figure["low"]) for figure in figures]
    above = [scale * (figure["high"] - figure["estimate"]) for figure in figures]
    axes.bar(names, values, color=colours, width=0.7)
    axes.errorbar(range(len(names)), values, yerr=[below, above], fmt="none", ecolor=INK, capsize=3)
    for place, (value, over) in enumerate(zip(values, above, strict=True)):
        axes.annotate(f"{value:.0f}", (place, value + over), (0, 3), textcoords="offset points", ha="center")
    axes.grid(axis="x", visible=False)
