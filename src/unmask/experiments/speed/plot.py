"""The picture: frontiers of perplexity against entropy, and the gap to the ARM's against time and tokens per pass.

    plot(result, Path("pictures"))             # [pictures/speed.png]

Left: a curve a setting of the test words, over its temperatures; the star is what the true glosses are, the band the
window of entropy over which gaps are means. Middle and right: every setting of the survey that reaches it; below the
line a masked model writes likelier text at the same entropy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.style import BLUE, DASHED, INK, RED, TEAL, drawn, logarithmic

COLOURS = {"arm": RED, "mdm": TEAL, "mdm-large": BLUE, "arm-equal": DASHED}
LABELS = {"arm": "ARM, KV cache", "mdm": "MDM", "mdm-large": "MDM, more pre-training"}
LABELS |= {"arm-equal": "ARM, less pre-training"}
STYLES = ("-", "--", ":", "-.")


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Three panels, in a folder that is there."""
    path = folder / "speed.png"
    with drawn(path, 16.5, 5.4, columns=3) as (figure, grid):
        frontiers, times, passes = grid[0]
        _frontiers(frontiers, result)
        batch = str(result["settings"]["batches"][0])
        _gaps(times, result, lambda row: (row["time"].get(batch) or {}).get("median"))
        times.axvline(1, color=DASHED, linewidth=1, linestyle="--")
        times.set_xlabel(f"time over the ARM's, batch {batch} (median)")
        _gaps(passes, result, lambda row: row["tokens_per_pass"])
        passes.set_xlabel("tokens per pass")
        times.set_ylabel("gap to the ARM's frontier, nats per token")
        title = f"a masked setting below the ARM's frontier (gap below 0) at no more time: {result['answer']}"
        figure.suptitle(title, fontsize=11)
    return [path]


def _frontiers(axes: Any, result: Mapping[str, Any]) -> None:
    seen: dict[str, int] = {}
    for row in result["test"]:
        role = row["role"]
        style = STYLES[seen.get(role, 0) % len(STYLES)]
        seen[role] = seen.get(role, 0) + 1
        x, y = ([point[key] for point in row["points"]] for key in ("entropy", "perplexity"))
        setting = row["setting"].removeprefix("ARM").removeprefix(", ")
        name = f"{LABELS[role]}: {setting}" if setting else LABELS[role]
        axes.plot(x, y, style, color=COLOURS[role], marker="o", markersize=3, linewidth=1.5, label=name)
    real, window = result["reference"]["test"], result["window"]
    axes.axvspan(window["low"], window["high"], color=DASHED, alpha=0.15, linewidth=0)
    axes.plot(real["entropy"], real["perplexity"], "*", color=INK, markersize=12, label="true glosses")
    logarithmic(axes, "y", "{x:,.0f}")
    axes.set_xlabel("entropy of the tokens within a text, nats")
    axes.set_ylabel("perplexity under the judge")
    axes.legend(fontsize=7.5, loc="best")


def _gaps(axes: Any, result: Mapping[str, Any], place: Any) -> None:
    shown = [row for row in result["survey"] if row.get("gap") and place(row)]
    for role, colour in COLOURS.items():
        rows = [row for row in shown if row["role"] == role]
        if not rows:
            continue
        x, y = [place(row) for row in rows], [row["gap"]["estimate"] for row in rows]
        low = [row["gap"]["estimate"] - row["gap"]["low"] for row in rows]
        high = [row["gap"]["high"] - row["gap"]["estimate"] for row in rows]
        axes.errorbar(x, y, yerr=(low, high), fmt="o", markersize=4, color=colour, elinewidth=0.8, label=LABELS[role])
        best = min(rows, key=lambda row: row["gap"]["estimate"])
        # Towards the middle, so that no name reaches out of the panel.
        left = place(best) > (min(map(place, shown)) * max(map(place, shown))) ** 0.5
        where = {"xytext": (-5 if left else 5, 4 if role == "mdm" else -11), "ha": "right" if left else "left"}
        kind = {"textcoords": "offset points", "fontsize": 7.5, "color": colour}
        axes.annotate(best["setting"], (place(best), best["gap"]["estimate"]), **where, **kind)
    axes.axhline(0, color=COLOURS["arm"], linewidth=1.2)
    logarithmic(axes, "x", "{x:g}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="best")
