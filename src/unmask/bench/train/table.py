"""The report of `unmask bench train` as text for people.

print(table(report))
"""

from __future__ import annotations

from typing import Any


def table(report: dict[str, Any]) -> str:
    """One block a size: a row an arm, then ratios, losses and the cost of exactness."""
    settings, machine = report["settings"], report["machine"]
    made = "compiled" if settings["compile"] else "not compiled"
    lines = [
        f"{settings['kind']}, batch {settings['batch']} x {settings['context']}, vocabulary {settings['vocab']:,}, "
        f"{settings['threads']} threads, ours {made}; {settings['rounds']} rounds of {settings['steps']} steps, "
        "medians [quartiles]",
        f"{machine['cpu']}, {machine['cores']} cores, torch {report['versions']['torch']}",
    ]
    for size, part in report["sizes"].items():
        lines += ["", f"{size} ({part['parameters']:,} parameters, {part['device']})", *_arms(part), *_facts(part)]
    return "\n".join(lines)


def _arms(part: dict[str, Any]) -> list[str]:
    wide = max(13, *(len(name) + 1 for name in part["arms"]))
    head = f"{'tokens/s':>22}{'GFLOP/s needed':>16}{'of matmul peak':>22}{'peak memory':>13}{'data wait':>11}"
    lines = [f"  {'':<{wide}}{head}"]
    for name, arm in part["arms"].items():
        rate = "{median:,.0f} [{q1:,.0f}, {q3:,.0f}]".format(**arm["tokens_per_second"])
        share = "{median:.1%} [{q1:.1%}, {q3:.1%}]".format(**arm["matmul_peak_share"])
        lines.append(
            f"  {name:<{wide}}{rate:>22}"
            f"{arm['flops_per_second']['median'] / 1e9:>16,.1f}"
            f"{share:>22}"
            f"{arm['peak_memory'] / 2**20:>9,.0f} MiB"
            f"{arm['data_wait_share']['median']:>11.2%}"
        )
    return lines


def _facts(part: dict[str, Any]) -> list[str]:
    lines = []
    for lead, others in part["over"].items():
        for name, ratio in others.items():
            lines.append(
                f"  {lead} / {name}: {{median:.2f}}x tokens/s [{{q1:.2f}}, {{q3:.2f}}], ".format(**ratio["speed"])
                + f"{ratio['memory']:.2f} of its memory; losses agree to {ratio['loss_difference']:.1e}"
            )
            if " ranks" in name:
                rounds = [1 / value for value in ratio["speed"]["rounds"]]
                median = 1 / ratio["speed"]["median"]
                lines.append(f"  {name} / {lead}: {median:.2f}x [{min(rounds):.2f} .. {max(rounds):.2f}]")
    ours = part["arms"][next(iter(part["over"]))]
    peak, bare, losses = ours["matmul_peak"]["median"], ours["bare_memory"], ours["losses"]
    lines.append(f"  losses of ours, from first to last step: {losses[0]:.4f} to {losses[-1]:.4f}")
    lines.append(f"  matmul peak {peak / 1e9:,.1f} GFLOP/s; {bare / 2**20:,.0f} MiB of ours before the model is built")
    lines.append(
        f"  noise and order by (seed, k): {ours['exactness_seconds'] * 1e3:.2f} ms a step, "
        f"{part['exact_resume_share']:.3%} of it (prepared one step ahead)"
    )
    if "profile" in part:
        lines += _profile(part["profile"])
    return lines


def _profile(profile: dict[str, Any]) -> list[str]:
    total = sum(profile["phases"].values())
    lines = [f"  phases of a step, {total * 1e3:,.0f} ms: "]
    lines[0] += ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in profile["phases"].items())
    lines.append(f"  matrix products and attention: {profile['matmul_share']:.1%} of operator time; {profile['trace']}")
    for name, share, count in profile["operators"]:
        lines.append(f"    {share:>6.1%}  {count:>6,} x  {name}")
    return lines
