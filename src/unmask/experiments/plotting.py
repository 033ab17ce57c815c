"""Pictures of experiments in one style: that of the demo's report.

    with picture(folder / "reversal.png", 9, 4, columns=2) as axes: axes[0].plot(...)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def bars(
    axes: Any,
    names: Sequence[str | float],
    figures: Sequence[Mapping[str, Any]],
    colours: Sequence[str],
    width: float = 0.7,
) -> None:
    """Shares as bars with their intervals, each with its percent on top. names: of the bars, or where they stand."""
    values = [100 * figure["estimate"] for figure in figures]
    below = [100 * (figure["estimate"] - figure["low"]) for figure in figures]
    above = [100 * (figure["high"] - figure["estimate"]) for figure in figures]
    places = [place if isinstance(place, int | float) else number for number, place in enumerate(names)]
    axes.bar(names, values, color=colours, width=width)
    axes.errorbar(places, values, yerr=[below, above], fmt="none", ecolor=INK, capsize=3, linewidth=1)
    for place, value, over in zip(places, values, above, strict=True):
        where = {"textcoords": "offset points", "ha": "center", "fontsize": 8.5}
        axes.annotate(f"{value:.0f}", (place, value + over), (0, 3), **where)
    axes.grid(axis="x", visible=False)
