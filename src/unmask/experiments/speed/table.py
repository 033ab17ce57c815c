"""The result as text for people.

    print(table(result))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmask.experiments.estimates import ends
from unmask.experiments.speed.matching import in_words


def table(result: Mapping[str, Any]) -> str:
    """The answer, the headline settings on the test words, then the survey by gap."""
    plan = result["settings"]
    batches = [str(batch) for batch in plan["batches"]]
    lines = [
        "does a masked setting lie below the ARM's frontier at no more time? "
        + result["answer"]
        + ("" if result["decided"] else " (not shown either way)"),
        f"  {result['words']}",
    ]
    for role, part in result["headline"].items():
        lines.append(f"  {role}: area under quality against tokens per pass {ends(part['area'], '.3f')}")
    lines += ["held-out bits/byte (of a masked model a bound):", *(f"  {line}" for line in in_words(result["matched"]))]
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


def _place(row: Mapping[str, Any]) -> tuple[bool, float]:
    return row["role"] != "arm", row["gap"]["estimate"] if row.get("gap") else float("inf")


def _line(row: Mapping[str, Any], batches: list[str]) -> str:
    times = "".join(f"{_time(row['time'].get(batch)):>17}" for batch in batches)
    gap = ends(row["gap"]) if row.get("gap") else row.get("why", "")
    return f"  {row['role']:<10}{row['setting']:<34}{row['passes']:>7.1f}{row['tokens_per_pass']:>8.2f}{times}   {gap}"


def _time(ratio: Mapping[str, Any] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f}"
