"""What the ablations found, beside the reversal experiment's result: one setting each, to be read beside `reference`.

    result["ablations"] = gathered(result.get("ablations", {}), [ablation, ...])    # results of --set ablation=NAME
    rows = table(result["ablations"]); draw(axes, result["ablations"])

`python -m unmask.experiments.table results/reversal FOLDER ...` puts them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.experiments.estimates import in_words
from unmask.experiments.plotting import ARM, MDM
from unmask.settings import read_yaml
from unmask.style import INK

FIGURES = {  # direction and figure, by the head of its column
    "trained names": ("trained", "name_accuracy"),
    "reversed names": ("reversed", "name_accuracy"),
    "reversed descriptions": ("reversed", "description_bare"),
    "true name the likeliest of its group": ("reversed", "name_likeliest_of_group"),
    "of everyone's": ("reversed", "name_likeliest"),
}


def known() -> dict[str, dict[str, Any]]:
    """Every ablation, in the order of the list."""
    ablations: dict[str, dict[str, Any]] = read_yaml(Path(__file__).parent / "ablations.yaml")["ablations"]
    return ablations


def gathered(before: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of each ablation by its name, in the order of the list; a newer result takes an older one's place."""
    found = {**before, **{result["ablation"]: figures_of(result) for result in results}}
    order = {name: place for place, name in enumerate(known())}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def figures_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of its one set of people and one kind of model."""
    name, made = next(iter(result["choices"].items()))
    kinds = {kind: part for kind, part in result["headline"].items() if kind in ("mdm", "arm")}
    kind, figures = next(iter((result["headline"].get("own") or kinds).items()))
    run = result["runs"][made["start"]][kind]
    return {
        "set": name, "kind": kind, "seeds": list(result["seeds"]), "command": result["command"],
        "commit": result["commit"], "steps": run["steps"], "flops": run["flops"],
        "name_tokens": result["material"][made["start"]]["name_tokens"],
        "figures": {head: figures[direction][key] for head, (direction, key) in FIGURES.items()
                    if key in figures[direction]},
    }  # fmt: skip


def table(ablations: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row each."""
    about = known()
    lines = [["Ablation", "What differs", *FIGURES, "Steps"], ["---"] * (len(FIGURES) + 3)]
    for name, one in ablations.items():
        shares = [in_words(one["figures"][head]) if head in one["figures"] else "" for head in FIGURES]
        why = about.get(name, {"why": "no longer in the list"})["why"]
        lines.append([f"`{name}`", why, *shares, f"{one['steps']:,}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def draw(axes: Any, ablations: Mapping[str, Mapping[str, Any]]) -> None:
    """Reversed names right, one bar an ablation, the reference as a line."""
    shown = {name: one["figures"]["reversed names"] for name, one in ablations.items()
             if "reversed names" in one["figures"]}  # fmt: skip
    colours = [MDM if ablations[name]["kind"] == "mdm" else ARM for name in shown]
    values = [100 * figure["estimate"] for figure in shown.values()]
    spread = [[100 * abs(figure[end] - figure["estimate"]) for figure in shown.values()] for end in ("low", "high")]
    axes.barh(list(shown), values, color=colours, height=0.7)
    axes.errorbar(values, list(shown), xerr=spread, fmt="none", ecolor=INK, capsize=3, linewidth=1)
    if "reference" in shown:
        axes.axvline(100 * shown["reference"]["estimate"], color=INK, linewidth=1, linestyle="--")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 100), xlabel="reversed names right, %, one seed")
