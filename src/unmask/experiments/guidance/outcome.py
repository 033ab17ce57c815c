"""What a result of `unmask experiment guidance` says: its picture, its figures in a cell, and in words.

    plot(result, folder), figure(result), holds(result), reading(result)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.experiments.estimates import ends
from unmask.experiments.guidance.scores import ONCE, PMI, TWICE, pmi_weights, scale_name
from unmask.experiments.plotting import ARM, MDM, OTHER, SOFT, picture

WORDS = {
    "unsupervised": "MDM, unsupervised",
    "standard": "MDM, standard (prompt dropout)",
    "arm": "ARM, prompt left out",
    "arm_dropout": "ARM, prompt dropout",
    "zero_shot": "MDM as pretrained, unsupervised",
    "arm_zero_shot": "ARM as pretrained",
}
COLOURS = {"unsupervised": MDM, "standard": OTHER, "arm": ARM, "arm_dropout": SOFT}
COLOURS |= {"zero_shot": MDM, "arm_zero_shot": ARM}  # dashed


def points(value: Mapping[str, Any]) -> str:
    """In points of a hundred."""
    return ends(value, "+.1f", 100)


def figure(result: Mapping[str, Any]) -> str:
    gains = [f"{task} {points(ways['unsupervised']['gain'])}" for task, ways in result["headline"].items()]
    return "points gained by unsupervised guidance over twice the draws without: " + ", ".join(gains)


def holds(result: Mapping[str, Any]) -> str:
    by_task = {task: ways["unsupervised"] for task, ways in result["headline"].items()}
    better = [task for task, part in by_task.items() if part["gain"]["low"] > 0]
    worse = [task for task, part in by_task.items() if part["gain"]["high"] < 0]
    explained = [task for task in better if by_task[task]["guided_less_pmi"]["low"] <= 0]
    why = f"; PMI gains as much on {', '.join(explained)}" if explained else ""
    if len(better) == len(by_task):
        return f"yes: it gains on {', '.join(better)}{why}"
    if better:
        return f"in part: it gains on {', '.join(better)} alone{why}"
    return f"no: it loses on {', '.join(worse)}" if worse else "not seen: no interval is above nothing"


def reading(result: Mapping[str, Any]) -> str:
    """Task by task: accuracy, gain, PMI, the other ways, and what would change it."""
    parts = []
    for task, ways in result["tasks"].items():
        items = result["items"][task]
        lines = [f"**{task.capitalize()}** ({items['test']:,} items, {items['clusters']['test']:,} clusters)."]
        for name, part in ways.items():
            accuracy = part["accuracy"]["unguided"]["estimate"]
            aside = "" if part["in_range"] else ", outside 40 to 80%"
            chosen = ", ".join(dict.fromkeys(part["chosen"]["guidance"]))
            lines.append(
                f"{WORDS[name]}: {100 * accuracy:.1f}% without guidance{aside}; with {chosen}, as chosen on other "
                f"items, {points(part['gain'])} points; PMI {points(part['pmi_gain'])}; guidance less PMI "
                f"{points(part['guided_less_pmi'])}."
            )
        parts.append(" ".join(lines))
    shared = len({base["weights_sha256"] for base in result["bases"].values()}) == 2
    bases = "seeds are of fine-tuning on one base of each kind" if shared else "each seed has a base of its own"
    if "reversal" in result["tasks"]:
        parts.append("Reversed questions are put to the runs of the experiment reversal, which dropped no prompt.")
    parts.append(
        f"Models: {bases}. w = 0 has twice the draws, half of them the same masks, so that "
        "both sides cost the same. PMI takes off the answer's own log-probability by a weight chosen in the same way: "
        "where guidance gains no more than it, removal of the prior explains the gain. Guided scores are no "
        "likelihood. Other tasks, and models that are good at harder ones, could change the answer."
    )
    return "\n\n".join(parts)


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Accuracy against w: guidance as lines, PMI of the same prior weight dotted, the headline's with its interval."""
    tasks = result["tasks"]
    path = folder / "guidance.png"
    with picture(path, 6.4 * len(tasks), 4.6, columns=len(tasks)) as axes:
        for ax, (task, ways) in zip(axes, tasks.items(), strict=True):
            for name, part in ways.items():
                curve = part["curve"]
                guided = [c for c in curve if c.startswith("w=") and c not in (ONCE, TWICE)]
                scales = sorted([0.0, *(float(c.removeprefix("w=")) for c in guided)])
                values = [curve[scale_name(w) if w else ONCE] for w in scales]
                dashed = "--" if "zero" in name else "-"
                ax.plot(scales, [100 * v["estimate"] for v in values], dashed, color=COLOURS[name], label=WORDS[name])
                if name == "unsupervised":  # six bands on one another would show none
                    low, high = ([100 * v[side] for v in values] for side in ("low", "high"))
                    ax.fill_between(scales, low, high, color=COLOURS[name], alpha=0.12, linewidth=0)
                above = [w for w in scales if w > 0]
                names = [c for c in curve if c.startswith(PMI)][: len(pmi_weights(above)) - 1]
                ax.plot(above, [100 * curve[c]["estimate"] for c in names], ":", color=COLOURS[name], linewidth=1)
            # Small scales matter as much as large ones, and where w = 9 is tried they would lie on one spot.
            ax.set_xscale("symlog", linthresh=1)
            ticks = [w for w in (-0.5, 0, 0.5, 1, 2, 4, 8, 16) if min(scales) <= w <= max(scales)]
            ax.set_xticks(ticks, [f"{w:g}" for w in ticks])
            ax.minorticks_off()
            ax.set(title=task, xlabel="guidance scale w (dotted: PMI at w / (1 + w))", ylabel="right, %")
            ax.legend(fontsize=7)
    return [path]
