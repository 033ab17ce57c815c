"""Pictures of a result of `unmask experiment temporal`: losses on two axes, and differences by group.

    plot(result, folder)          # temporal-losses.png, temporal-differences.png: a panel a corpus, two a row
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.experiments.plotting import ARM, MDM, picture
from unmask.experiments.temporal.analysis import LATER, LEFT_OUT
from unmask.experiments.temporal.outcome import TITLES
from unmask.experiments.temporal.texts import IN_PERIOD, OF_CONTROLS

WIDTH, HEIGHT = 4.8, 4.0  # of a panel, inches


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Later against in-period loss, MDM points that are compared filled; and the differences by group."""
    names = list(result["corpora"])
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    losses, differences = folder / "temporal-losses.png", folder / "temporal-differences.png"
    for path, panel in ((losses, losses_of), (differences, differences_of)):
        with picture(path, WIDTH * columns, HEIGHT * rows, columns, rows) as axes:
            for ax, name in zip(axes, names, strict=False):
                panel(ax, result, name)
                ax.set_title(TITLES[name])
            for ax in axes[len(names) :]:
                ax.set_axis_off()
    return [losses, differences]


def losses_of(ax: Any, result: Mapping[str, Any], name: str) -> None:
    points = result["corpora"][name]["points"]
    first = min(point["seed"] for point in points)
    for kind, colour, style, marker in (("arm", ARM, "-", "o"), ("mdm", MDM, "--", "s")):
        for seed in sorted({point["seed"] for point in points}):
            own = [point for point in points if (point["kind"], point["seed"]) == (kind, seed)]
            own.sort(key=lambda point: point[IN_PERIOD])
            ax.plot([p[IN_PERIOD] for p in own], [p[LATER] for p in own], style, color=colour, alpha=0.6, linewidth=1.2)
            for compared, fill, words in ((True, colour, ""), (False, "white", ", not compared")):
                some = [point for point in own if point["compared"] == compared]
                label = f"{kind.upper()}{words}" if some and seed == first else None
                ax.plot([p[IN_PERIOD] for p in some], [p[LATER] for p in some], marker, linestyle="none", color=colour,
                        markerfacecolor=fill, markersize=4.5, label=label)  # fmt: skip
    aside = "outside the period" if name in OF_CONTROLS else "later"
    ax.set(xlabel="held out of the period, bits/byte", ylabel=f"{aside}, bits/byte")
    ax.legend()


def differences_of(ax: Any, result: Mapping[str, Any], name: str) -> None:
    # Under the longest name panels would have no height; it stands in the text.
    groups = {group: f for group, f in result["headline"][name]["difference"].items() if group != LEFT_OUT}
    values = list(groups.values())
    mid = [f["estimate"] for f in values]
    reach = [
        [m - f["low"] for m, f in zip(mid, values, strict=True)],
        [f["high"] - m for m, f in zip(mid, values, strict=True)],
    ]
    ax.axhline(0, color=ARM, linewidth=1)
    if values:
        ax.errorbar(range(len(groups)), mid, yerr=reach, fmt="o", color=MDM, capsize=3, markersize=4.5)
    names = [group.replace(LATER, "outside") if name in OF_CONTROLS else group for group in groups]
    ax.set_xticks(range(len(groups)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set(ylabel="MDM less ARM, bits/byte")
