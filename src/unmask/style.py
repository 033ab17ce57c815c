"""One palette for all pictures and pages: what is teal in one is teal in the others.

    with drawn("curve.png", 6, 4) as (figure, grid): grid[0, 0].plot(x, y, color=COLOURS["mdm"])

The colours are told apart by readers who do not see red and green alike, also in grey; AT_NIGHT is for dark pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEAL, RED, BLUE, GREY = "#0b7a75", "#c8553d", "#5b6bb0", "#8a8f98"
IN_TURN = (TEAL, RED, BLUE, GREY)  # of things that have no colour of their own
COLOURS = {"mdm": TEAL, "arm": RED, "unigram": GREY, "xz": BLUE}
AT_NIGHT = {"mdm": "#3fb8b0", "arm": "#e8836c", "unigram": "#9aa1ab", "xz": "#8e9ce0"}
INK, SOFT, LINE = "#23262c", "#4a4f57", "#e6e8eb"  # text, axes, grid
DASHED, FAINT = "#444444", "#777777"  # lines that are no data, and names beside them

STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "unmask",
}


@contextmanager
def drawn(
    path: str | Path | None, width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any
) -> Iterator[tuple[Any, Any]]:
    """A figure of so many inches and its axes [rows, columns], saved as `path`'s suffix says once the block ends well.

    grid: as `subplots` takes it. Raises `ValueError` for a suffix that is no picture's.
    """
    import matplotlib
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **grid)
        if path is not None:
            figure.savefig(path, dpi=160, metadata={"Software": None} if Path(path).suffix == ".png" else None)


def logarithmic(axes: Any, which: str, form: str) -> None:
    """Makes an axis, "x" or "y", logarithmic, with numbers in that form at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(form)
    axis.set_minor_formatter(NullFormatter())
