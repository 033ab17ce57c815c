"""The picture of `unmask bench train`: speed with its spread, and the share of the matmul peak, an arm a bar.

    plot(report, Path("bench.png"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.style import IN_TURN, drawn


def plot(report: dict[str, Any], path: Path) -> None:
    """Bars of medians with quartile whiskers; the suffix of `path` names the format. Raises `ValueError` on others."""
    sizes, settings = list(report["sizes"]), report["settings"]
    with drawn(path, 4.2 * len(sizes) + 1.2, 5.6, rows=2, columns=len(sizes)) as (figure, grid):
        for (above, below), size in zip(grid.T, sizes, strict=True):
            arms = report["sizes"][size]["arms"]
            _bars(above, {name: arm["tokens_per_second"] for name, arm in arms.items()}, 1.0)
            _bars(below, {name: arm["matmul_peak_share"] for name, arm in arms.items()}, 100.0)
            above.set_title(size)
            memory = ", ".join(f"{name} {arm['peak_memory'] / 2**30:.2f}" for name, arm in arms.items())
            below.set_xlabel(f"peak memory, GiB: {memory}", fontsize=8.5)
        grid[0, 0].set_ylabel("tokens/s")
        grid[1, 0].set_ylabel("% of matmul peak, needed FLOPs")
        figure.suptitle(
            f"{settings['kind']}, batch {settings['batch']} x {settings['context']}, vocabulary "
            f"{settings['vocab']:,}, {settings['threads']} threads; {report['machine']['cpu']}",
            fontsize=9.5,
        )


def _bars(axes: Any, values: dict[str, dict[str, Any]], scale: float) -> None:
    medians, low, high = ([scale * value[key] for value in values.values()] for key in ("median", "q1", "q3"))
    whiskers = [[m - q for m, q in zip(medians, low, strict=True)], [q - m for m, q in zip(medians, high, strict=True)]]
    bars = axes.bar(list(values), medians, yerr=whiskers, capsize=4, color=IN_TURN[: len(values)], width=0.62)
    axes.bar_label(bars, fmt="{:,.0f}", padding=4)
    axes.margins(y=0.15)
