"""The result of `unmask bench decode` as text for people.

    print(table(result))

`*` marks the front (no other setting is faster and better), `~` a judgement flattered by low entropy (`pareto.py`).
"""

from __future__ import annotations

from typing import Any

from unmask.bench.decode.pareto import SLACK, Point, equals, front, points


def table(result: dict[str, Any]) -> str:
    """A block a cell and batch, then the filled gaps, then what was refused."""
    machine, options = result["machine"], result["options"]
    judge = f"judge {result['judge']['name']}" if result["judge"] else "no judge"
    lines = [
        f"threads: {result['threads']}, {machine['cpu']}, torch {result['versions']['torch']}; {judge}; "
        f"{options['samples']} samples a setting, {options['rounds']} rounds, medians [quartiles]; "
        "useful tokens only, +- half the 95% interval over samples"
    ]
    for cell in result["cells"]:
        for batch in map(str, options["batch"]):
            lines += ["", *_cell(cell, batch)]
    if result["infill"]:
        lines += ["", *_infill(result["infill"])]
    for name, reason in result["refused"].items():
        lines.append(f"left out: {name}: {reason}")
    return "\n".join(lines)


def _cell(cell: dict[str, Any], batch: str) -> list[str]:
    real, measured = cell["real_text"], points(cell, batch)
    entropy = real["entropy"]["value"]
    on_front = front(measured, entropy)
    flattered = {point.name for point in measured if point.flattered(entropy)}
    width = max(len(row["setting"]) for row in cell["rows"]) + 1
    lines = [
        f"prompt {cell['prompt']}, length {cell['length']}, batch {batch}",
        f"  {'':<{width}}{'passes':>7}{'a pass':>8}{'tokens/s':>24}{'x ARM':>8}{'latency':>10}{'first':>9}"
        f"{'perplexity':>18}{'bits/byte':>14}{'entropy':>14}{'dist-2':>8}{'rep-4':>8}",
        f"  {'held-out text':<{width}}{'':>58}{_quality(real)}",
    ]
    for row in cell["rows"]:
        if (speed := row["speed"].get(batch)) is None:
            continue
        name = row["setting"]
        mark = "*" if name in on_front else "~" if name in flattered else " "
        rate = "{median:,.0f} [{q1:,.0f}, {q3:,.0f}]".format(**speed["tokens_per_second"])
        over = f"{speed['over_arm']['median']:.2f}x" if speed["over_arm"] else ""
        first = f"{speed['first_commit']['median'] * 1e3:,.1f} ms" if speed["first_commit"] else ""
        if "over_first_dtype" in speed:
            over = f"{speed['over_first_dtype']['median']:.2f}x *"
        lines.append(
            f"{mark} {name:<{width}}{speed['nfe']:>7.1f}{speed['tokens_per_pass']:>8.2f}{rate:>24}{over:>8}"
            f"{speed['latency']['median'] * 1e3:>7,.0f} ms{first:>9}{_quality(row['quality'])}"
        )
    if any("over_first_dtype" in row["speed"].get(batch, {}) for row in cell["rows"]):
        lines.append("  x *: tokens/s over those of the same setting in the first type, within a round")
    return lines + _verdicts(measured, entropy)


def _quality(values: dict[str, Any]) -> str:
    def shown(name: str, form: str, error: bool = False) -> str:
        if name not in values:
            return ""
        return _error(values[name], form) if error else format(values[name]["value"], form)

    return (
        f"{shown('perplexity', ',.1f', True):>18}{shown('bits_per_byte', '.3f', True):>14}"
        f"{shown('entropy', '.3f', True):>14}{shown('distinct_2', '.3f'):>8}{shown('repetition', '.3f'):>8}"
    )


def _verdicts(measured: list[Point], entropy: float) -> list[str]:
    """Two sentences a temperature of the twin: is there a masked-model setting as good, and how fast is it?"""
    lines = []
    for twin in (point for point in measured if point.kind == "arm" and point.bits is not None):
        honest, any_entropy = equals(measured, twin, entropy), equals(measured, twin, None)
        lines.append(f"  as good as {twin.name} ({_bits(twin)}), fastest: {_verdict(honest, twin)}")
        if any_entropy[:1] != honest[:1]:
            lines.append(f"    letting entropy fall ({entropy:.2f} in held-out text): {_verdict(any_entropy, twin)}")
    return lines


def _verdict(good: list[Point], twin: Point) -> str:
    if not good:
        return f"no setting of the masked model (with at most {SLACK} nats less entropy than held-out text)"
    best = good[0]
    return f"{best.name}, {best.speed / twin.speed:.2f}x its tokens/s, {_bits(best)}, entropy {best.entropy:.2f}"


def _bits(point: Point) -> str:
    return f"{_error({'value': point.bits, 'interval': point.interval}, '.3f')} bits/byte"


def _infill(gaps: dict[str, Any]) -> list[str]:
    rows, real = gaps["rows"], gaps["real_bits_per_byte"]
    width = max(len(row["setting"]) for row in rows) + 2
    batches = list(rows[0]["speed"])
    head = "".join(f"{f'ms a gap, batch {batch}':>20}{'x ARM':>8}" for batch in batches)
    lines = [
        f"gaps of {gaps['span']} tokens in {gaps['pieces']} pieces of held-out text, temperature 0 "
        "(an autoregressive model sees what stands before a gap only)",
        f"  {'':<{width}}{'passes':>7}{'all right':>16}{'a token':>16}{'bits/byte':>16}{head}",
    ]
    if real is not None:
        lines.append(f"  {'as it was':<{width}}{'':>39}{_error(real, '.3f'):>16}")
    for row in rows:
        cells = [_error(row[name], ".1%") for name in ("exact_match", "tokens_right")]
        cells.append(_error(row["bits_per_byte"], ".3f") if "bits_per_byte" in row else "")
        line = f"  {row['setting']:<{width}}{row['nfe']:>7.1f}" + "".join(f"{cell:>16}" for cell in cells)
        for batch in batches:
            speed = row["speed"][batch]
            over = f"{speed['over_arm']['median']:.2f}x" if speed["over_arm"] else ""
            line += f"{speed['seconds']['median'] * 1e3:>20,.2f}{over:>8}"
        lines.append(line)
    return lines


def _error(value: dict[str, Any], form: str) -> str:
    """With half the width of the 95% interval, which a single sample and a result of an older version do not have."""
    text, within = format(value["value"], form), value.get("interval")
    return text if within is None else f"{text} +-{format((within[1] - within[0]) / 2, form)}"
