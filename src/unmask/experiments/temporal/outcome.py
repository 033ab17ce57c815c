"""What a result of `unmask experiment temporal` says: its pictures, its figures in a cell, and in words.

    plot(result, folder), figure(result), holds(result), reading(result)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.experiments.estimates import ends
from unmask.experiments.plotting import ARM, MDM, picture
from unmask.experiments.temporal.analysis import LATER
from unmask.experiments.temporal.texts import CONTROLS, IN_PERIOD

TITLES = {
    "speeches": "messages after 1912",
    "kernel": "what is new in Linux 6.12",
    "reversed": "control: messages before 1913",
    "shuffled": "control: years shuffled",
}


def main_corpora(result: Mapping[str, Any]) -> list[str]:
    return [name for name in result["corpora"] if name not in CONTROLS]


def difference(result: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Of all later text; None where no points could be compared."""
    later: dict[str, Any] | None = result["headline"][name]["difference"].get(LATER)
    return later


def figure(result: Mapping[str, Any]) -> str:
    """MDM less ARM on later text, at equal loss in the period."""
    parts = []
    for name in main_corpora(result):
        value = difference(result, name)
        parts.append(f"{TITLES[name]}: " + ("losses do not meet" if value is None else f"{ends(value)} bits/byte"))
    return "MDM less ARM at equal loss in the period, " + "; ".join(parts)


def holds(result: Mapping[str, Any]) -> str:
    by_corpus = {name: difference(result, name) for name in main_corpora(result)}
    if any(value is None for value in by_corpus.values()):
        return "not known: the two kinds have no loss in common"
    below = [name for name, value in by_corpus.items() if value is not None and value["high"] < 0]
    above = [name for name, value in by_corpus.items() if value is not None and value["low"] > 0]
    if len(below) == len(by_corpus):
        return "yes: the MDM lies below the ARM's line on later text"
    if len(above) == len(by_corpus):
        return "no: the MDM lies above the ARM's line on later text"
    if not below and not above:
        return "not seen: the intervals hold no difference"
    where = [f"{'below' if name in below else 'above'} for {TITLES[name]}" for name in (*below, *above)]
    return f"in part: the MDM lies {', '.join(where)}"


def reading(result: Mapping[str, Any]) -> str:
    """Differences, slopes by medium, controls, and what was spent."""
    parts = []
    for name, corpus in result["corpora"].items():
        head = result["headline"][name]
        shifts = [f"{kind.upper()} {ends(head[f'{kind}_shift'], '+.2f')}" for kind in ("arm", "mdm")]
        lines = [f"**{TITLES[name].capitalize()}.** Later less in period at the last checkpoint, bits/byte: "
                 f"{', '.join(shifts)}."]  # fmt: skip
        if (later := difference(result, name)) is None:
            lines.append("The losses in the period do not meet, so nothing is compared: change arm.tokens.")
        else:
            ratios = [ratio for ratio in corpus["compute_ratio_at_equal_loss"] if ratio is not None]
            compute = f" (where the MDM had {min(ratios):.0f} to {max(ratios):.0f} times the FLOPs)" if ratios else ""
            lines.append(f"At equal loss in the period{compute} the MDM's later loss less the ARM's is {ends(later)}.")
            others = {group: f for group, f in head["difference"].items() if group != LATER}
            if others:
                lines.append("By group: " + ", ".join(f"{group} {ends(f)}" for group, f in others.items()) + ".")
        if head["slope_per_decade"]:
            slopes = ", ".join(f"{medium} {ends(f, '+.4f')}" for medium, f in head["slope_per_decade"].items())
            lines.append(f"Slope of the difference, bits/byte a decade: {slopes}.")
        epochs = [value for key, value in corpus["epochs"].items() if key.startswith("mdm")]
        lines.append(f"The MDM saw its text {max(epochs):.1f} times.")
        parts.append(" ".join(lines))
    parts.append(
        "Messages were sent in writing before 1913 and mostly spoken after, so the step at the cut is a change of "
        "medium too; the slopes within one medium are free of it. An MDM's loss is a bound on both sides of every "
        "comparison. More seeds and longer runs would narrow the intervals by seeds; more documents there are not."
    )
    return "\n\n".join(parts)


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Later against in-period loss, a panel a corpus; and the differences by group."""
    names = list(result["corpora"])
    lines, bars = folder / "temporal-losses.png", folder / "temporal-differences.png"
    with picture(lines, 4.6 * len(names), 4.2, columns=len(names)) as axes:
        for ax, name in zip(axes, names, strict=True):
            points = result["corpora"][name]["points"]
            for kind, colour in (("arm", ARM), ("mdm", MDM)):
                for seed in sorted({p["seed"] for p in points}):
                    own = sorted((p[IN_PERIOD], p[LATER]) for p in points if (p["kind"], p["seed"]) == (kind, seed))
                    label = kind.upper() if seed == min(p["seed"] for p in points) else None
                    style = "o-" if kind == "arm" else "s--"
                    ax.plot(*zip(*own, strict=True), style, color=colour, label=label, alpha=0.8, markersize=4)
            ax.set(title=TITLES[name], xlabel="held out of the period, bits/byte", ylabel="later, bits/byte")
            ax.legend()
    with picture(bars, 4.6 * len(names), 4.2, columns=len(names)) as axes:
        for ax, name in zip(axes, names, strict=True):
            groups = result["headline"][name]["difference"]
            values = list(groups.values())
            mid = [f["estimate"] for f in values]
            reach = [[m - f["low"] for m, f in zip(mid, values, strict=True)],
                     [f["high"] - m for m, f in zip(mid, values, strict=True)]]  # fmt: skip
            ax.axhline(0, color=ARM, linewidth=1)
            if values:
                ax.errorbar(range(len(groups)), mid, yerr=reach, fmt="o", color=MDM, capsize=3)
            ax.set_xticks(range(len(groups)), list(groups), rotation=60)
            ax.set(title=TITLES[name], ylabel="MDM less ARM, bits/byte")
    return [lines, bars]
