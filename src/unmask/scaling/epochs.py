"""Repeated data: loss over epochs of the same tokens, and where an MDM's curve crosses an ARM's.

    for study in studies_of(runs, pair=("arm", "mdm")):     # one a size and number of unique tokens
        study["series"], study["crossing"]["epochs"]

A run whose tokens are more than its `unique` ones saw them several times. ARMs soon begin to forget the held-out text,
MDMs gain for far longer (Prabhudesai et al. 2025, arXiv 2507.15857), so two crossings are told: where the MDM comes
below the ARM trained as long, and where it comes below the best that the ARM ever reached. Where rows tell of their
best checkpoint (`best_loss`, `best_tokens`), that counts among what was ever reached; as long is said of final weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from unmask.scaling.table import Runs

SAME = 1e-9  # relative


class Way(NamedTuple):
    """What makes a line of its own of runs on the same unique tokens."""

    trunk: str = ""
    seed: str = ""
    subset: str = ""
    tried: str = ""

    def name(self, lines: Sequence[Way]) -> str:
        """What tells it from the others; a trunk's own name only where nothing else does."""
        if len(lines) < 2:
            return ""
        if not any(way.subset or way.tried for way in lines):
            return self.trunk or (f"seed {self.seed}" if self.seed else "")
        several = len({way.seed for way in lines}) > 1
        words = (several and f"seed {self.seed}", self.subset and f"subset {self.subset}", self.tried.replace("_", " "))
        return ", ".join(word for word in words if word)


def studies_of(runs: Runs, pair: Sequence[str]) -> list[dict[str, Any]]:
    """Series of loss over epochs by size and unique tokens, with their crossings; empty where nothing is repeated."""
    known = runs.take(np.isfinite(runs.unique))
    studies = []
    keys = sorted({(float(n), float(u)) for n, u in zip(known.params, known.unique, strict=True)})
    for params, unique in keys:
        here = known.take((known.params == params) & (known.unique == unique))
        if not np.any(here.repeats):
            continue
        series = _series(here)
        studies.append(
            {
                "title": f"N {_short(params)}, {_short(unique)} unique tokens",
                "params": params,
                "unique": unique,
                "series": series,
                "crossing": crossing_of(series, pair),
            }
        )
    return studies


def _series(runs: Runs) -> list[dict[str, Any]]:
    """One line an objective and `Way`, by ascending epochs; what stands there twice counts by its mean."""
    rows = []
    for objective in runs.names:
        own = runs.of(objective)
        ways = [Way(*words) for words in zip(own.trunk, own.seed, own.subset, own.tried, strict=True)]
        lines = list(dict.fromkeys(ways))
        if len(lines) == len(ways) and not any(way.trunk for way in ways):
            lines = [Way()]  # a seed a run: one line of them all
        for way in lines:
            line = own if way == Way() else own.take(np.array([one == way for one in ways]))
            epochs = np.unique(line.tokens / line.unique)
            final = [float(line.loss[line.tokens / line.unique == e].mean()) for e in epochs]
            checkpoints = _checkpoints(line)
            reached = [*zip(epochs, final, strict=True), *checkpoints]
            name = way.name(lines)
            rows.append(
                {
                    "objective": objective,
                    "label": objective.upper() + (f", {name}" if name else ""),
                    "epochs": epochs.tolist(),
                    "final": final,
                    "best": [min(loss for at, loss in reached if at <= e * (1 + SAME)) for e in epochs],
                    "checkpoints": [list(point) for point in checkpoints],
                }
            )
    return rows


def _checkpoints(runs: Runs) -> list[tuple[float, float]]:
    """(epochs, loss) of the best checkpoint of each run that tells of it, by ascending epochs."""
    known = runs.take(np.isfinite(runs.best_loss) & np.isfinite(runs.best_tokens))
    return sorted(zip((known.best_tokens / known.unique).tolist(), known.best_loss.tolist(), strict=True))


def crossing_of(series: list[dict[str, Any]], pair: Sequence[str]) -> dict[str, Any]:
    """`epochs` at which the second objective's best comes below the first's lowest, `same_epochs` below it at as many;
    null with `why` where they do not. Of several series an objective, its best at each number of epochs.
    """
    first, second = (_envelope([s for s in series if s["objective"] == name]) for name in pair)
    none = {"epochs": None, "same_epochs": None, "lowest": None, "lowest_at": None}
    if first is None or second is None:
        return {**none, "why": f"it takes runs of both {pair[0]} and {pair[1]} on the same tokens"}
    reached, later = (_envelope([s for s in series if s["objective"] == name], "checkpoints") for name in pair)
    assert reached is not None and later is not None
    lowest = float(reached[1].min())
    crossing: dict[str, Any] = {
        "epochs": _falls_below(later[0], np.minimum.accumulate(later[1]) - lowest),
        "same_epochs": None,
        "lowest": lowest,
        "lowest_at": float(reached[0][reached[1].argmin()]),
        "why": None,
    }
    both = (second[0] >= first[0][0]) & (second[0] <= first[0][-1])
    if both.any():
        other = np.interp(np.log(second[0][both]), np.log(first[0]), first[1])
        crossing["same_epochs"] = _falls_below(second[0][both], second[1][both] - other)
    if crossing["epochs"] is None:
        crossing["why"] = f"not within {second[0][-1]:.4g} epochs"
    return crossing


def _envelope(series: list[dict[str, Any]], more: str = "") -> tuple[np.ndarray, np.ndarray] | None:
    """The least loss at each number of epochs: of final weights, and of the points that `more` names."""
    points: dict[float, float] = {}
    for line in series:
        for epochs, loss in [*zip(line["epochs"], line["final"], strict=True), *line.get(more, [])]:
            points[epochs] = min(loss, points.get(epochs, math.inf))
    if not points:
        return None
    epochs = np.array(sorted(points))
    return epochs, np.array([points[e] for e in epochs])


def _falls_below(epochs: np.ndarray, difference: np.ndarray) -> float | None:
    """The first zero from above, log epochs interpolated; the first point itself where it is below already."""
    below = np.flatnonzero(difference <= 0)
    if not len(below):
        return None
    i = int(below[0])
    if i == 0:
        return float(epochs[0])
    share = difference[i - 1] / (difference[i - 1] - difference[i])
    return float(epochs[i - 1] * (epochs[i] / epochs[i - 1]) ** share)


def _short(number: float) -> str:
    """0.5M, 25B."""
    for size, sign in ((1e9, "B"), (1e5, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / (1e6 if sign == 'M' else size):.3g}{sign}"
    return f"{number:.3g}"
