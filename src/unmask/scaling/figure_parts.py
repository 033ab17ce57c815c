"""What the pictures of a scaling report share: figures without pyplot, axes in powers, one legend below.

figure = new_figure(10, 4)
legend_below(figure, *figure.axes)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unmask.style import SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def legend_below(figure: Figure, *several: Axes) -> None:
    """One legend under all panels, where it covers nothing."""
    entries: dict[str, Any] = {}
    for axes in several:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    columns = len(entries) if len(entries) < 5 else 3
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def note(axes: Axes, words: str, at: tuple[float, float], shift: tuple[float, float], **more: Any) -> None:
    """Small words beside a point, so many points off."""
    axes.annotate(words, at, xytext=shift, textcoords="offset points", fontsize=8.5, color=SOFT, **more)


def log_axis(axes: Axes, label: str) -> None:
    """The x axis in powers of ten."""
    axes.set_xscale("log")
    axes.set_xlabel(label)


def fitted_line(axes: Axes, points: Sequence[Any], colour: str, label: str, width: float, dark: float) -> None:
    """Through (x, y, low, high, whether it was measured there) each: dashed where not, in a band that is so dark."""
    x, y, *_ = zip(*points, strict=True)
    axes.plot(x, y, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
    inside = [(x, y) for x, y, _, _, measured in points if measured]
    axes.plot(*(zip(*inside, strict=True) if inside else ([], [])), color=colour, linewidth=width, label=label)
    if band := [(x, low, high) for x, _, low, high, _ in points if low is not None and high is not None]:
        x, low, high = zip(*band, strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=dark, linewidth=0)


def plain_ticks(axes: Axes) -> None:
    """Numbers as they are read, not as powers of ten, on an axis that spans little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.yaxis.set_major_locator(LogLocator(subs=_subs(axes.get_ylim())))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _subs(limits: Iterable[float]) -> tuple[float, ...]:
    low, high = limits
    decades = math.log10(high / low)
    if decades < 0.6:
        step = 5 if decades < 0.3 else 2
        return tuple(1 + i / step for i in range(9 * step))
    return (1, 1.5, 2, 3, 4, 5, 7) if decades < 1.2 else (1, 2, 5)


def new_figure(width: float, height: float) -> Figure:
    """Of so many inches, laid out as it is drawn."""
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    return Figure(figsize=(width, height), layout="constrained")
