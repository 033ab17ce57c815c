"""The demo's pictures, drawn by matplotlib from the numbers of its summary.

    curves_svg(summary), levels_svg(summary)       # inline SVG for the report
    picture(summary, "runs/demo/picture.png")      # one picture for a README

Text stays text in the SVG, so that it is sharp and small; colours are those of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.pages import inline_svg, svg_of
from unmask.style import COLOURS, INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"mdm": "MDM (upper bound)", "arm": "ARM (exact)", "unigram": "unigram", "xz": "xz"}


def draw_curves(axes: Axes, summary: dict[str, Any]) -> None:
    """Held-out bits per byte against training FLOPs, with the baselines as lines."""
    for kind in ("mdm", "arm"):
        points = summary["curves"][kind]
        x, y = ([p[key] for p in points] for key in ("flops", "bits_per_byte"))
        style: dict[str, Any] = {"color": COLOURS[kind], "label": LABELS[kind], "linewidth": 2}
        axes.plot(x, y, marker="o", markersize=3 if len(points) > 1 else 6, **style)
    for name in ("unigram", "xz"):
        axes.axhline(summary[name]["bits_per_byte"], color=COLOURS[name], linestyle="--", linewidth=1.2)
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "ha": "right"}
        at = (1, summary[name]["bits_per_byte"])
        axes.annotate(LABELS[name], at, textcoords="offset points", color=COLOURS[name], **where)
    axes.set_xscale("log")
    axes.set_xlabel("training FLOPs (exact count)")
    axes.set_ylabel("held-out bits/byte")
    axes.set_title("Training curves", loc="left", fontweight="bold")
    axes.legend(loc="best")


def draw_bars(axes: Axes, summary: dict[str, Any]) -> None:
    """The headline as bars, each with its number."""
    names = ["unigram", "xz", "mdm", "arm"]
    values = [summary[name]["bits_per_byte"] for name in names]
    errors = [summary[name].get("bits_per_byte_se", 0.0) for name in names]
    bars = axes.bar([LABELS[n].replace(" (", "\n(") for n in names], values, color=[COLOURS[n] for n in names])
    axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontweight="bold")
    axes.errorbar(range(len(names)), values, yerr=errors, fmt="none", ecolor=INK, capsize=3)
    axes.set_ylabel("bits/byte (lower is better)")
    axes.set_title("On the held-out text", loc="left", fontweight="bold")
    axes.set_ylim(0, 1.12 * max(values))
    axes.grid(axis="x", visible=False)


def draw_levels(axes: Axes, summary: dict[str, Any]) -> None:
    """The MDM's cross-entropy at masked tokens by the share of tokens that are masked."""
    levels = summary["mdm"]["loss_by_mask_share"]
    width = 1 / len(levels)
    known = [(i, loss) for i, loss in enumerate(levels) if loss is not None]
    axes.bar(
        [(i + 0.5) * width for i, _ in known], [loss for _, loss in known], width=0.86 * width, color=COLOURS["mdm"]
    )
    for name, text in (("unigram", "unigram"), ("arm", "ARM, each token from its left")):
        axes.axhline(summary[name]["nats_per_token"], color=COLOURS[name], linestyle="--", linewidth=1.6, label=text)
    top = max([loss for _, loss in known] + [summary["unigram"]["nats_per_token"]])
    axes.set(xlim=(0, 1), ylim=(0, 1.35 * top), xlabel="share of tokens masked", ylabel="nats per masked token")
    axes.set_title("MDM loss by noise level", loc="left", fontweight="bold")
    axes.legend(loc="upper left")
    axes.grid(axis="x", visible=False)


def curves_svg(summary: dict[str, Any]) -> str:
    return _svg(draw_curves, summary, "Held-out bits per byte of both models against training FLOPs")


def levels_svg(summary: dict[str, Any]) -> str:
    return _svg(draw_levels, summary, "Loss of the masked diffusion model by share of masked tokens")


def picture(summary: dict[str, Any], path: str | Path) -> Path:
    """Training curves and headline bars side by side."""
    with drawn(path, 10, 4, columns=2, width_ratios=(1.35, 1)) as (_, grid):
        draw_curves(grid[0, 0], summary)
        draw_bars(grid[0, 1], summary)
    return Path(path)


def _svg(draw: Callable[[Axes, dict[str, Any]], None], summary: dict[str, Any], label: str) -> str:
    with drawn(None, 5.2, 3.5) as (figure, grid):
        draw(grid[0, 0], summary)
        return inline_svg(svg_of(figure), label)
