"""What guidance gains: at the scale chosen on other items, less no guidance with twice the draws, item by item.

    figures = gains(tune, test, clusters, scales)                 # tune, test: credits [N, columns] of each seed
    figures["gain"], figures["accuracy"], figures["chosen"], figures["curve"]

The scale is chosen for each seed's model by its accuracy on the tuning items (of equal ones the nearest to none), and
so is the weight of PMI. Intervals are of `estimates.paired`: by cluster and by seed.

Shapes: S seeds, N items, C columns (`scores.columns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmask.experiments.estimates import clustered, paired
from unmask.experiments.guidance.scores import BLIND, ONCE, PMI, TWICE, columns, pmi_name, pmi_weights, scale_name

ROUGH = 300  # resamples of a point of the curve
LOW, HIGH = 0.4, 0.8  # accuracy without guidance between which a gain can show


def gains(
    tune: Sequence[np.ndarray], test: Sequence[np.ndarray], clusters: Sequence[str], scales: Sequence[float]
) -> dict[str, Any]:
    """Figures of one way to guide. tune, test: a table of each seed, test's of the same items."""
    names = columns(scales)
    place = {name: c for c, name in enumerate(names)}
    guided = [ONCE, *(scale_name(scale) for scale in scales)]
    weighted = [ONCE, *(pmi_name(weight) for weight in pmi_weights(scales))]
    own = [chosen(table, guided, place, [0.0, *scales]) for table in tune]
    prior = [chosen(table, weighted, place, [0.0, *pmi_weights(scales)]) for table in tune]
    # Where no guidance is chosen nothing is spent on it, and its draws are doubled too.
    at_own = np.stack([table[:, place[TWICE if n == ONCE else n]] for table, n in zip(test, own, strict=True)])
    at_prior = np.stack([table[:, place[TWICE if n == ONCE else n]] for table, n in zip(test, prior, strict=True)])
    plain = np.stack([table[:, place[TWICE]] for table in test])
    full_pmi = np.stack([table[:, place[pmi_name(1.0)]] for table in test])
    accuracy = {
        "unguided": clustered(plain, clusters),
        "guided": clustered(at_own, clusters),
        "pmi": clustered(at_prior, clusters),
        "without_prompt": clustered(np.stack([table[:, place[BLIND]] for table in test]), clusters),
    }
    return {
        "gain": paired(at_own, plain, clusters),
        "pmi_gain": paired(at_prior, plain, clusters),
        "full_pmi_gain": paired(full_pmi, plain, clusters),
        "guided_less_pmi": paired(at_own, at_prior, clusters),
        "accuracy": accuracy,
        "chosen": {"guidance": own, PMI: prior},
        "in_range": LOW <= accuracy["unguided"]["estimate"] <= HIGH,
        "curve": curve(test, clusters, names),
    }


def chosen(table: np.ndarray, names: Sequence[str], place: Mapping[str, int], sizes: Sequence[float]) -> str:
    """The column with most of the tuning items right; of equal ones that of the least guidance."""
    best = max(range(len(names)), key=lambda i: (round(float(table[:, place[names[i]]].mean()), 9), -abs(sizes[i])))
    return names[best]


def curve(test: Sequence[np.ndarray], clusters: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Accuracy on the test items at every column. For the eye: nothing is chosen by it."""
    return {name: clustered(np.stack([t[:, c] for t in test]), clusters, ROUGH) for c, name in enumerate(names)}
