"""The result as text for people.

    print(table(result))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmask.experiments.estimates import ends
from unmask.experiments.speed.matching import in_words

FIGURES = {
    "gap_at_reference": "gap at the true glosses' entropy",
    "gap_common": "gap over all entropies in common",
    "gap_to_plain": "gap to the ARM's plain temperature alone",
    "gap_per_text": "gap in nats a text",
    "gap_at_equal_bits": "gap to arm-equal",
}


def table(result: Mapping[str, Any]) -> str:
    """The answer, the headline settings on the test words, then the survey by gap."""
    plan = result["settings"]
    batches = [str(batch) for batch in plan["batches"]]
    lines = []
    for label, found in result["answers"].items():
        shown = "" if found["decided"] else " (not shown either way)"
        asked = f"does a masked setting lie below the ARM's frontier at no more time, {label}?"
        lines += [f"{asked} {found['answer']}{shown}", f"  {found['words']}"]
    for role, part in result["headline"].items():
        for name, words in FIGURES.items():
            if name in part:
                lines.append(f"  {role}: {words} {ends(part[name], '+.3f')}")
        tested = sum(row["role"] == role for row in result["test"])
        area = f"area under quality against tokens per pass {ends(part['area'], '.3f')}"
        lines.append(f"  {role}: {area}, of {tested} tested settings")
    lines += _fewer(result)
    window = result["window"]
    lines.append(f"window of entropy, test: {window['low']:.3f} to {window['high']:.3f} nats; intervals over words, "
                 "templates and seeds")  # fmt: skip
    lines += ["held-out bits/byte (of a masked model a bound):", *(f"  {line}" for line in in_words(result["matched"]))]
    lines += _equal(result) + _further(result)
    for name, glosses in (("test", "test_words"), ("survey", "survey_words")):
        real = result["reference"][name]
        lines += ["", f"{name}: {plan[glosses]} words, {len(plan['templates'])} templates; true glosses: perplexity "
                  f"{real['perplexity']:.1f}, entropy {real['entropy']:.3f}"]
        head = "".join(f"{f'x ARM, batch {batch}':>17}" for batch in batches)
        lines.append(f"  {'':<10}{'':<34}{'passes':>7}{'a pass':>8}{head}   gap in nats/token, 95%")
        for row in sorted(result[name], key=_place):
            lines.append(_line(row, batches))
    lines += ["", "bits/byte of the true test glosses, first seed, by template; FLOPs of pre-training and fine-tuning:"]
    for role, seeds in result["reference"]["likelihood"].items():
        values = ", ".join(f"{template} {rate['value']:.3f}" for template, rate in seeds[0].items())
        flops = result["bases"][role]["flops"], result["fine_tuning"][role][0]["flops"]
        lines.append(f"  {role:<10} {values}; " + " and ".join("unknown" if f is None else f"{f:.3g}" for f in flops))
    return "\n".join(lines)


def _fewer(result: Mapping[str, Any]) -> list[str]:
    """Which models tried fewer rules than the rest."""
    tried = {role: count for role, count in result["settings_tried"].items() if role != "arm"}
    most = max(tried.values())
    return [f"  {role}: {count} settings of fewer rules were tried, not {most}" for role, count in tried.items()
            if count < most]  # fmt: skip


def _equal(result: Mapping[str, Any]) -> list[str]:
    """How arm-equal was chosen."""
    if (equal := result["equal"]) is None:
        return ["no candidate for an ARM of equal bits/byte was given"]
    bits = ", ".join(f"{role} {value:.3f}" for role, value in equal["bits"].items())
    return [f"arm-equal is {equal['chosen']}, by the validation words' bits/byte: {bits}"]


def _further(result: Mapping[str, Any]) -> list[str]:
    """What the further judge read."""
    if (further := result["test_further_judge"]) is None:
        return ["no further judge has read the texts (--set further_judge=smollm2)"]
    name, counts = further["judge"]["name"], f"{further['texts']:,} texts, {further['words']} words, one seed"
    lines = [f"gaps under {name} ({counts}):"]
    for row in further["rows"]:
        if row["role"] != "arm":
            lines.append(f"  {row['role']:<10}{row['setting']:<34}{ends(row['gap']) if row['gap'] else row['why']}")
    return lines


def _place(row: Mapping[str, Any]) -> tuple[bool, float]:
    return not row["role"].startswith("arm"), row["gap"]["estimate"] if row.get("gap") else float("inf")


def _line(row: Mapping[str, Any], batches: list[str]) -> str:
    times = "".join(f"{_time(row['time'].get(batch)):>17}" for batch in batches)
    gap = ends(row["gap"]) if row.get("gap") else row.get("why", "")
    return f"  {row['role']:<10}{row['setting']:<34}{row['passes']:>7.1f}{row['tokens_per_pass']:>8.2f}{times}   {gap}"


def _time(ratio: Mapping[str, Any] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f}"
