"""What guidance gains: at the scale chosen on other items, less no guidance with twice the draws, item by item.

    way = gains(tune, test, clusters, scales, chance=0.5)         # tune, test: credits [N, columns] of each seed
    way.figures["gain"], way.figures["accuracy"], way.figures["chosen"], way.figures["curve"]
    compare({"unsupervised": way, "standard": other}, clusters)   # adds how much less or more one gains than another

The scale is chosen for each seed's model by its accuracy on the tuning items (of equal ones the nearest to none), and
so is the weight of PMI; no guidance has twice the draws there too. Intervals are of `estimates.paired`: by cluster and
by seed. Items and masks are the same for all ways of a task, so that their gains are compared item by item.

Shapes: S seeds, N items, C columns (`scores.columns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.experiments.estimates import clustered, paired
from unmask.experiments.guidance.scores import BLIND, PMI, TWICE, columns, pmi_name, pmi_weights, scale_name

ROUGH = 300  # resamples of a point of the curve
LOW, HIGH = 0.4, 0.8  # accuracy without guidance between which a gain can show
RIVALS = {
    "unsupervised": {"gain_less_standard": "standard", "gain_less_arm": "arm"},
    "zero_shot": {"gain_less_arm": "arm_zero_shot"},
}


@dataclass(frozen=True)
class Gains:
    """Of one way to guide: what the result says of it, and what each item gained [S, N]."""

    figures: dict[str, Any]
    gain_SN: np.ndarray


def gains(
    tune: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    clusters: Sequence[str],
    scales: Sequence[float],
    chance: float,
) -> Gains:
    """Of one way to guide. tune, test: a table of each seed, test's of the same items; chance: of a blind guess."""
    names = columns(scales)
    place = {name: c for c, name in enumerate(names)}
    guided = [TWICE, *(scale_name(scale) for scale in scales)]
    weighted = [TWICE, *(pmi_name(weight) for weight in pmi_weights(scales))]
    own = [chosen(table, guided, place, [0.0, *scales]) for table in tune]
    prior = [chosen(table, weighted, place, [0.0, *pmi_weights(scales)]) for table in tune]
    at_own = np.stack([table[:, place[name]] for table, name in zip(test, own, strict=True)])
    at_prior = np.stack([table[:, place[name]] for table, name in zip(test, prior, strict=True)])
    plain = np.stack([table[:, place[TWICE]] for table in test])
    full_pmi = np.stack([table[:, place[pmi_name(1.0)]] for table in test])
    accuracy = {
        "unguided": clustered(plain, clusters),
        "guided": clustered(at_own, clusters),
        "pmi": clustered(at_prior, clusters),
        "without_prompt": clustered(np.stack([table[:, place[BLIND]] for table in test]), clusters),
    }
    unguided = accuracy["unguided"]
    at_chance = unguided["low"] <= chance
    figures = {
        "gain": paired(at_own, plain, clusters),
        "pmi_gain": paired(at_prior, plain, clusters),
        "full_pmi_gain": paired(full_pmi, plain, clusters),
        "guided_less_pmi": paired(at_own, at_prior, clusters),
        "accuracy": accuracy,
        "chance": chance,
        "at_chance": at_chance,
        "in_range": LOW <= unguided["estimate"] <= HIGH and not at_chance,
        "chosen": {"guidance": own, PMI: prior, "at_an_end": [name in ends(scales) for name in own]},
        "curve": curve(test, clusters, names),
    }
    return Gains(figures, at_own - plain)


def compare(ways: Mapping[str, Gains], clusters: Sequence[str]) -> None:
    """Adds to each way's figures its gain less that of the ways that it is to be held against."""
    for name, rivals in RIVALS.items():
        for figure, other in rivals.items():
            if name in ways and other in ways:
                ways[name].figures[figure] = paired(ways[name].gain_SN, ways[other].gain_SN, clusters)


def ends(scales: Sequence[float]) -> list[str]:
    """The largest scale, beyond which a better one may lie; and the smallest where it is below 0."""
    return [scale_name(max(scales)), *([scale_name(min(scales))] if min(scales) < 0 else [])]


def chosen(table: np.ndarray, names: Sequence[str], place: Mapping[str, int], sizes: Sequence[float]) -> str:
    """The column with most of the tuning items right; of equal ones that of the least guidance."""
    best = max(range(len(names)), key=lambda i: (round(float(table[:, place[names[i]]].mean()), 9), -abs(sizes[i])))
    return names[best]


def curve(test: Sequence[np.ndarray], clusters: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Accuracy on the test items at every column. For the eye: nothing is chosen by it."""
    return {name: clustered(np.stack([t[:, c] for t in test]), clusters, ROUGH) for c, name in enumerate(names)}
