"""The picture of `unmask bench train`: speed with its spread, and the share of the matmul peak, an arm a bar.

    plot(report, Path("bench.png"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.style import IN_TURN


def plot(report: dict[str, Any], path: Path) -> None:
    """Bars of medians with quartile whiskers; the suffix of `path` names the format. Raises `ValueError` on others."""
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    sizes = list(report["sizes"])
    figure = Figure(figsize=(4.2 * len(sizes) + 1.2, 5.6), layout="constrained")
    grid = figure.subplots(2, len(sizes), squeeze=False)
    for column, size in enumerate(sizes):
        arms = report["sizes"][size]["arms"]
        for axes, key, label, scale in (
            (grid[0][column], "tokens_per_second", "tokens/s", 1.0),
            (grid[1][column], "matmul_peak_share", "% of matmul peak, needed FLOPs", 100.0),
        ):
            values = [arm[key] for arm in arms.values()]
            medians = [scale * value["median"] for value in values]
            whiskers = [
                [scale * (value["median"] - value["q1"]) for value in values],
                [scale * (value["q3"] - value["median"]) for value in values],
            ]
            bars = axes.bar(list(arms), medians, yerr=whiskers, capsize=4, color=IN_TURN[: len(arms)], width=0.62)
            axes.bar_label(bars, fmt="{:,.0f}", padding=4)
            axes.set_ylabel(label if column == 0 else "")
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(y=0.15)
        grid[0][column].set_title(size)
        memory = ", ".join(f"{name} {arm['peak_memory'] / 2**30:.2f}" for name, arm in arms.items())
        grid[1][column].set_xlabel(f"peak memory, GiB: {memory}", fontsize=8.5)
    settings = report["settings"]
    figure.suptitle(
        f"{settings['kind']}, batch {settings['batch']} x {settings['context']}, vocabulary {settings['vocab']:,}, "
        f"{settings['threads']} threads; {report['machine']['cpu']}",
        fontsize=9.5,
    )
    figure.savefig(path, dpi=130)
