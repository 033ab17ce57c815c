"""The report's section on repeated data: where curves cross, final and best losses by epochs, and the laws.

repeated_section(fit, view)             # HTML; empty where no run repeats its tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from unmask.pages import table
from unmask.scaling.page_parts import cell
from unmask.scaling.published import BOUND


def repeated_section(fit: dict[str, Any], view: dict[str, Any]) -> str:
    """Where the curves cross, and what the laws of repeated data say."""
    if not view["repeated"]:
        return ""
    parts = []
    for study in view["repeated"]:
        parts.append(f"<p><b>{escape(study['title'])}.</b> {crossing_in_words(study['crossing'], view['pair'])}</p>")
    parts.append(losses_table(view["repeated"]))
    rows = []
    for name, entry in (fit.get("constrained") or {}).items():
        r_data, epochs = entry["muennighoff"]["R_D"], entry["quokka"].get("best_epochs")
        why = r_data.get("why") if r_data["estimate"] is None else ""
        rows.append([escape(name.upper()), cell(r_data), cell(epochs), escape(why or "")])
    if rows:
        head = ["", "R_D, epochs that repeats are worth (Muennighoff)", "best epochs (Quokka)", ""]
        parts.append(table(head, rows, numbers=(1, 2)))
    return "".join(parts)


def losses_table(studies: Sequence[dict[str, Any]]) -> str:
    """By epochs: the loss of final weights, the best that any of the line's runs reached until then, and where."""
    rows = []
    for study in studies:
        for series in study["series"]:
            for i, epochs in enumerate(series["epochs"]):
                best, last = series["best"][i], series["epochs"][i - 1] if i else 0.0
                here = [f"{loss:.4f} at {at:.3g}" for at, loss in series["checkpoints"] if last < at <= epochs]
                cells = [f"{epochs:.4g}", f"{series['final'][i]:.4f}", f"{best:.4f}", ", ".join(here) or "–"]
                rows.append([escape(study["title"]), escape(series["label"]), *cells])
    head = ["", "", "epochs", "final weights", "best until then", "best checkpoints, at epochs"]
    return table(head, rows, numbers=(2, 3, 4))


def crossing_in_words(crossing: dict[str, Any], pair: Sequence[str] | None) -> str:
    """Both crossings, or why there is none."""
    if pair is None or crossing["lowest"] is None:
        return f"No crossing: {escape(crossing['why'] or 'it takes two objectives')}."
    first, second = (escape(name.upper()) for name in pair)
    lowest = f"the {first}'s lowest loss ({crossing['lowest']:.4f}, at {crossing['lowest_at']:.4g} epochs)"
    if crossing["epochs"] is None:
        text = f"The {second} does not come below {lowest}: {escape(crossing['why'])}."
    else:
        text = f"The {second} comes below {lowest} at {crossing['epochs']:.3g} epochs."
    if crossing["same_epochs"] is not None:
        text += f" At equal epochs it is better from {crossing['same_epochs']:.3g} epochs on."
    return f"{text} {BOUND}."
