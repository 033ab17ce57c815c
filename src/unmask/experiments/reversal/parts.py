"""One result of the reversal experiment from several, which may be had at other times.

    result = together([original, own])           # results of --set sets=[original] and --set sets=[own]
    result = together([kept, spans, wide])       # a result, and those of --set ablation=NAME
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unmask.errors import UserError
from unmask.experiments.reversal.ablated import gathered
from unmask.training.run_folder import flat

BY_SET = ("headline", "starts", "choices", "material", "runs", "exposure")  # whose keys are sets, or made of them
MAY_DIFFER = ("sets", "epochs", "grid", "each", "ranked")  # as between the sets of one run


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
    return {**merged, "ablations": gathered(before, ablations)}


def merged_sets(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of one experiment on different people."""
    first, *others = results
    for other in others:
        refuse_others(first, other)
    sets = [name for result in results for name in result["choices"]]
    if len(set(sets)) < len(sets):
        raise UserError(f"reversal: several results of the same people ({', '.join(sets)}); keep one of each")
    merged = dict(first)
    for group in BY_SET:
        merged[group] = {key: value for result in results for key, value in result[group].items()}
    for group in ("settings", "chosen"):
        merged[group] = {**first[group], "sets": sets}
    described = ("command", "commit", "versions", "machine", "settings", "times")
    return {
        **merged,
        "command": " && ".join(result["command"] for result in results),
        "commit": ", ".join(dict.fromkeys(result["commit"] or "unknown" for result in results)),
        "chosen_late": any(result["chosen_late"] for result in results),
        "parts": {name: {key: result[key] for key in described} for result in results for name in result["choices"]},
    }


def refuse_others(first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for key in ("size", "seeds", "base_flops"):
        if first[key] != other[key]:
            raise UserError(f"reversal: results with {key} {first[key]!r} and {other[key]!r} are not of one experiment")
    ours, theirs = ({k: v for k, v in result["chosen"].items() if k not in MAY_DIFFER} for result in (first, other))
    begun = flat(theirs)
    for key, value in flat(ours).items():
        if begun.get(key) != value:
            raise UserError(f"reversal: results with {key} {value!r} and {begun.get(key)!r} are not of one experiment")
