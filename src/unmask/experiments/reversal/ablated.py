"""What the ablations found, beside the reversal experiment's result: one setting each, to be read beside `reference`.

    result["ablations"] = gathered(result.get("ablations", {}), [ablation, ...])    # results of --set ablation=NAME
    rows = table(result["ablations"]); draw(axes, result["ablations"])

`python -m unmask.experiments.table results/reversal FOLDER ...` puts them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.evaluation.reversal.questions import ASKED
from unmask.evaluation.reversal.task import PAPER
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
PAPERS = f"{PAPER['guidance']:g}"
GUIDED = f"reversed names, w {PAPERS}"
COLUMNS = ("trained names", "reversed names", GUIDED, *list(FIGURES)[2:])


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
    guided = run.get("at_guidance", {}).get(PAPERS, {}).get("reversed", {})
    shown = {head: figures[direction][key] for head, (direction, key) in FIGURES.items() if key in figures[direction]}
    choice = made["choices"][made["start"]][kind]
    return {
        "ways": {asks: choice[asks] for asks in ASKED if asks in choice}, "checkpoint": choice["checkpoint"],
        "set": name, "kind": kind, "seeds": list(result["seeds"]), "command": result["command"],
        "commit": result["commit"], "steps": run["steps"], "flops": run["flops"],
        "name_tokens": result["material"][made["start"]]["name_tokens"],
        "figures": {**shown, **({GUIDED: guided["name_accuracy"]} if guided else {})},
    }  # fmt: skip


def table(ablations: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row each."""
    about = known()
    lines = [["Ablation", "What differs", *COLUMNS, "Names decoded by", "Steps"], ["---"] * (len(COLUMNS) + 4)]
    for name, one in ablations.items():
        shares = [in_words(one["figures"][head]) if head in one["figures"] else "" for head in COLUMNS]
        why = about.get(name, {"why": "no longer in the list"})["why"]
        way = way_in_words(one["ways"]["name"]) if one["kind"] == "mdm" else ""
        lines.append([f"`{name}`", why, *shares, way, f"{one['steps']:,}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def way_in_words(way: Mapping[str, Any]) -> str:
    blind = "" if way["blind"] == "prompt" else f" against the {way['blind']} hidden"
    passes = f"{way['steps']} passes" if way["steps"] else "a token a pass"
    return f"{way['order']}, w {way['guidance']:g}{blind}, {passes}"


def draw(axes: Any, ablations: Mapping[str, Mapping[str, Any]]) -> None:
    """Reversed names right: a bar an ablation as was chosen, a thin one with the paper's guidance; the reference as a
    line."""
    names = [name for name, one in ablations.items() if "reversed names" in one["figures"]]
    for head, offset, height, alpha in (("reversed names", -0.12, 0.46, 1.0), (GUIDED, 0.27, 0.24, 0.45)):
        there = [(place, name) for place, name in enumerate(names) if head in ablations[name]["figures"]]
        figures = [ablations[name]["figures"][head] for _, name in there]
        places = [place + offset for place, _ in there]
        values = [100 * figure["estimate"] for figure in figures]
        spread = [[100 * abs(figure[end] - figure["estimate"]) for figure in figures] for end in ("low", "high")]
        colours = [MDM if ablations[name]["kind"] == "mdm" else ARM for _, name in there]
        axes.barh(places, values, color=colours, height=height, alpha=alpha)
        axes.errorbar(values, places, xerr=spread, fmt="none", ecolor=INK, capsize=2, linewidth=0.8)
    if "reference" in names:
        at = 100 * ablations["reference"]["figures"]["reversed names"]["estimate"]
        axes.axvline(at, color=INK, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    key = f"green: MDM, red: ARM; pale: {GUIDED.split(', ')[1]}; dashed: reference"
    axes.set(xlim=(0, 100), xlabel=f"reversed names right, %, one seed ({key})")
