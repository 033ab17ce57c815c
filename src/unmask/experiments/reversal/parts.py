"""One result of the reversal experiment from several, which may be had at other times.

    result = together([original, own])           # results of --set sets=[original] and --set sets=[own]
    result = together([random, base])            # results of --set starts=[random] and --set starts=[base]
    result = together([kept, spans, wide])       # a result, and those of --set ablation=NAME
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unmask.errors import UserError
from unmask.experiments.reversal.ablated import gathered
from unmask.experiments.reversal.asking import choose
from unmask.training.run_folder import flat

# As between the sets and starts of one run, and between machines; the page says where two starts had other weights.
MAY_DIFFER = ("sets", "starts", "epochs", "weighting", "grid", "each", "ranked", "precision", "compile")
ASKED_ALIKE = ("grid", "each")  # of the same people, else their scores are of other questions
DESCRIBED = ("command", "commit", "versions", "machine", "settings", "times")


def together(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`parts` says how each came about, `ablations` what each of them found.

    Raises `UserError` for results of the same people, or of other settings, and for ablations alone.
    """
    ablations = [result for result in results if result["ablation"]]
    results = [result for result in results if not result["ablation"]]
    if not results:
        names = ", ".join(result["ablation"] for result in ablations)
        raise UserError(f"reversal: ablations ({names}) stand beside a result; give that first, as results/reversal")
    merged = merged_sets(results) if len(results) > 1 else dict(results[0])
    before = {name: one for result in results for name, one in result.get("ablations", {}).items()}
    command = command_of(merged["parts"]) if "parts" in merged else merged["command"]
    return {**merged, "command": command, "ablations": gathered(before, ablations)}


def merged_sets(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of one experiment on different people, or from different starts, of which one is chosen as within one run."""
    first, *others = results
    for other in others:
        refuse_others(first, other)
    labels = [label for result in results for made in result["choices"].values() for label in made["choices"]]
    if len(set(labels)) < len(labels):
        raise UserError(f"reversal: several results of the same people ({', '.join(labels)}); keep one of each")
    made: dict[str, dict[str, Any]] = {}
    for result in results:
        for name, own in result["choices"].items():
            made.setdefault(name, {}).update(own["choices"])
    choices = {name: choose(own) for name, own in made.items()}
    headline, starts = arranged(choices, {key: value for result in results for key, value in by_label(result).items()})
    merged = {**first, "headline": headline, "starts": starts, "choices": choices}
    for group in ("material", "runs", "base_flops"):
        merged[group] = {key: value for result in results for key, value in result[group].items()}
    known = [result["exposure"] for result in results]
    merged["exposure"] = {name: how for one in known for name, how in one.items()}
    parts = {name: part for result in results for name, part in parts_of(result).items()}
    for group in ("settings", "chosen"):
        merged[group] = {**first[group], "sets": list(choices)}
    return {
        **merged,
        "commit": ", ".join(dict.fromkeys(one for r in results for one in (r["commit"] or "unknown").split(", "))),
        "chosen_late": any(result["chosen_late"] for result in results),
        "parts": parts,
    }


def command_of(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """What makes one result of such parts again: each in a folder of its own, then put together."""
    made: dict[str, str] = {}
    for label, part in parts.items():
        made.setdefault(part["command"], f"runs/{label}")
    if len(made) == 1:
        return next(iter(made))
    runs = [f"{command} --out {folder}" for command, folder in made.items()]
    return " && ".join([*runs, f"python -m unmask.experiments.table {' '.join(made.values())}"])


def parts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """How each start of a result came about."""
    labels = [label for made in result["choices"].values() for label in made["choices"]]
    known: dict[str, Any] = result.get("parts", {})
    return {label: known.get(label) or {key: result[key] for key in DESCRIBED} for label in labels}


def by_label(result: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of a result's starts: original, original-base, own and so on."""
    headline = result["headline"]
    original = {kind: part for kind, part in headline.items() if kind != "own"}
    chosen = {made["start"]: original if name == "original" else headline["own"]
              for name, made in result["choices"].items()}  # fmt: skip
    return {**chosen, **result["starts"]}


def arranged(
    choices: Mapping[str, Mapping[str, Any]], figures: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The headline, that is the figures of the start that was chosen on each set of people, and those of the others."""
    headline: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, made in choices.items():
        for label in made["choices"]:
            if label != made["start"]:
                others[label] = figures[label]
            elif name == "original":
                headline |= figures[label]
            else:
                headline["own"] = figures[label]
    return headline, others


def in_any_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: in_any_order(one) for key, one in value.items()}
    return sorted(value) if isinstance(value, list) else value


def refuse_others(first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for key in ("size", "seeds", "base_flops"):
        if first[key] != other[key] and (key != "base_flops" or (first[key] and other[key])):
            raise UserError(f"reversal: results with {key} {first[key]!r} and {other[key]!r} are not of one experiment")
    shared = set(first["choices"]) & set(other["choices"])
    for key in ASKED_ALIKE if shared else ():
        ours, theirs = first["chosen"][key], other["chosen"][key]
        if in_any_order(ours) != in_any_order(theirs):  # the order decides among equals only
            two = f"two starts of {', '.join(sorted(shared))} with {key} {ours} and {theirs}"
            raise UserError(f"reversal: {two} were not asked alike, so that neither can be chosen; ask one again")
    ours, theirs = ({k: v for k, v in result["chosen"].items() if k not in MAY_DIFFER} for result in (first, other))
    begun = flat(theirs)
    for key, value in flat(ours).items():
        if begun.get(key) != value:
            raise UserError(f"reversal: results with {key} {value!r} and {begun.get(key)!r} are not of one experiment")
