"""What a model makes of items: whether each way to rank their answers puts the right one first.

    rows = credits(model, items, scales=(0.5, 1.0), draws=8, view="mask", eos_id=None)      # [N, columns(scales)]

Columns: w = 0 with the same draws; w = 0 with twice as many; each guidance scale; PMI at lambda = w / (1 + w) of each
positive scale and at 1; the answer without its prompt. All of one item are under the same masks, since noise is keyed
by the prompt. A right answer that shares the first place counts in part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.experiments.guidance.items import Item
from unmask.likelihood.guided import GuidedScore, guided_scores
from unmask.likelihood.pairs import Pair
from unmask.model.folder import Model

ONCE, TWICE, BLIND, PMI = "w=0", "w=0, twice the draws", "without the prompt", "pmi"


def scale_name(scale: float) -> str:
    return f"w={scale:g}"


def pmi_name(weight: float) -> str:
    return f"{PMI} {weight:.3g}"


def pmi_weights(scales: Sequence[float]) -> list[float]:
    """lambda of PMI that guidance at each positive scale would be without its normalisation; 1 is the mutual
    information itself."""
    return [*(scale / (1 + scale) for scale in scales if scale > 0), 1.0]


def columns(scales: Sequence[float]) -> list[str]:
    weights = [pmi_name(weight) for weight in pmi_weights(scales)]
    return [ONCE, TWICE, *(scale_name(scale) for scale in scales), *weights, BLIND]


def credits(
    model: Model, items: Sequence[Item], scales: Sequence[float], draws: int, view: str, ends: bool, seed: int = 0
) -> np.ndarray:
    """float [N, columns]: 1 where the right answer is first.

    ends: an end of sequence follows each answer and is scored, as fine-tuning teaches it.
    Raises `UserError` for an item that does not fit the model.
    """
    end = [model.eos_id] if ends and model.eos_id is not None else []
    pairs = [
        Pair.make(model, item.prompt, [*answer, *end], f"item {number}")
        for number, item in enumerate(items)
        for answer in item.answers
    ]
    scored = guided_scores(model, pairs, scales, draws, seed, view)
    rows, start = [], 0
    for item in items:
        own = scored[start : (start := start + len(item.answers))]
        rows.append([credit(nats) for nats in by_column(own, scales)])
    return np.array(rows)


def by_column(scored: Sequence[GuidedScore], scales: Sequence[float]) -> list[list[float]]:
    """Nats of each answer, a list for each column."""
    return [
        [score.seen for score in scored],
        [score.seen_twice for score in scored],
        *([float(score.nats_W[w]) for score in scored] for w in range(len(scales))),
        *([score.pmi(weight) for score in scored] for weight in pmi_weights(scales)),
        [score.blind for score in scored],
    ]


def credit(nats: Sequence[float]) -> float:
    """1 where the first is the least, a share where others are as small, else 0."""
    least = min(nats)
    return 1 / sum(value == least for value in nats) if nats[0] == least else 0.0
