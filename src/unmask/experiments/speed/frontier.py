"""Two ways to write judged as frontiers: perplexity against entropy over temperatures, never point by point.

    arm, mdm = Cell(...), Cell(...)                          # what a judge said, text by text
    compare(mdm, arm)["gap"]                                 # {"estimate", "low", "high", "n", "clusters"}

Perplexity under another model falls as entropy does, so a point says nothing (arXiv 2604.02718). The gap is the mean,
over the entropies that both reach, of the log perplexity of one less that of the other: below 0 the first one writes
text that the judge finds likelier at the same entropy, and exp(-gap) is its quality (the ARM's own is 1). Words are
drawn again for its interval; beside it stand the intervals over prompt templates (arXiv 2606.29228) and over seeds.

Shapes: G groups (a seed and a template each), T temperatures, W words, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.statistics import mean, middle

SHARED = 0.02  # nats of entropy that two frontiers must have in common
MOST = 2 / 3  # of the groups whose frontiers must have that
GRID = 33
DRAWS = 400
Headline = dict[str, float | int | None]


@dataclass(frozen=True, eq=False)
class Cell:
    """Texts of one model and setting: float64 [G, T, W] each; an empty text has 0 everywhere."""

    nats: np.ndarray  # of the judge
    tokens: np.ndarray  # the judge's
    entropy: np.ndarray  # within the text, nats
    templates: Sequence[str]  # of each group
    seeds: Sequence[int]

    def curve(self, weights_W: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(entropy, log perplexity), [G, T] each; `weights_W`: how often each word counts."""
        w = np.ones(self.nats.shape[2]) if weights_W is None else weights_W
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.entropy @ w / w.sum(), (self.nats @ w) / (self.tokens @ w)


def gap(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """(mean difference of the log perplexities, share of the entropies where the first is lower) over the entropies
    that both curves, [T] each, reach; nan where these are fewer than `SHARED` nats."""
    low = max(x.min() for x, _ in (first, second))
    high = min(x.max() for x, _ in (first, second))
    if not high - low >= SHARED:
        return math.nan, math.nan
    grid = np.linspace(low, high, GRID)
    difference = lowest(grid, *first) - lowest(grid, *second)
    return float(difference.mean()), float((difference < 0).mean())


def lowest(grid: np.ndarray, x_T: np.ndarray, y_T: np.ndarray) -> np.ndarray:
    """The frontier at each x of the grid: the lowest y of the line through the points in the order of temperatures,
    which may turn back, since very hot texts repeat rare tokens or end early."""
    least = np.full(len(grid), np.inf)
    for i in range(len(x_T) - 1):
        ends = sorted(((x_T[i], y_T[i]), (x_T[i + 1], y_T[i + 1])))
        inside = (grid >= ends[0][0]) & (grid <= ends[1][0])
        y = np.interp(grid, [x for x, _ in ends], [y for _, y in ends])
        least = np.where(inside, np.minimum(least, y), least)
    return least


def gaps(cell: Cell, arm: Cell, weights_W: np.ndarray | None = None) -> np.ndarray:
    """float64 [G, 2]: gap and share below of each group."""
    own, other = cell.curve(weights_W), arm.curve(weights_W)
    return np.array([gap((own[0][g], own[1][g]), (other[0][g], other[1][g])) for g in range(len(own[0]))])


def word_draws(n_words: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """float64 [B, W]: how often each word is in a sample with replacement."""
    return np.random.default_rng(seed).multinomial(n_words, np.full(n_words, 1 / n_words), draws).astype(float)


def compare(cell: Cell, arm: Cell, draws_BW: np.ndarray | None = None) -> dict[str, Any]:
    """gap with its interval over words, over_templates, over_seeds, share_below; of the groups whose curves meet, and
    only where `MOST` of them do: else `why`."""
    gap_GF = gaps(cell, arm)
    n_groups, n_temperatures, n_words = cell.nats.shape
    met = ~np.isnan(gap_GF[:, 0])
    if met.mean() < MOST:
        return {"gap": None, "why": f"its entropies and the ARM's have less than {SHARED} nats in common"}
    draws_BW = word_draws(n_words) if draws_BW is None else draws_BW
    drawn = np.array([group_mean(gaps(cell, arm, weights_W)[:, 0]) for weights_W in draws_BW])
    n = int(met.sum()) * n_temperatures * n_words
    return {
        "gap": headline(float(gap_GF[met, 0].mean()), drawn, n, n_words),
        "over_templates": _over(gap_GF[met, 0], [t for t, ours in zip(cell.templates, met, strict=True) if ours], n),
        "over_seeds": _over(gap_GF[met, 0], [s for s, ours in zip(cell.seeds, met, strict=True) if ours], n),
        "share_below": float(gap_GF[met, 1].mean()),
        "groups": [int(met.sum()), n_groups],
    }


def group_mean(values_G: np.ndarray) -> float:
    """Of the groups that have a gap; nan where fewer than `MOST` have."""
    known = values_G[~np.isnan(values_G)]
    return float(known.mean()) if len(known) >= MOST * len(values_G) else math.nan


def headline(estimate: float, drawn: np.ndarray, n: int, clusters: int) -> Headline:
    """An estimate with the middle 95% of its draws."""
    low, high = middle(drawn)
    return {"estimate": estimate, "low": low, "high": high, "n": n, "clusters": clusters}


def _over(values_G: np.ndarray, labels: Sequence[Any], n: int) -> dict[str, Any]:
    """The mean over labels, each the mean of its groups, with Student's t interval over the labels."""
    pairs = list(zip(values_G, labels, strict=True))
    own = {label: float(np.mean([value for value, its in pairs if its == label])) for label in labels}
    average = mean(list(own.values()))
    low, high = average.interval or (None, None)
    each = {str(label): value for label, value in own.items()}
    return {"estimate": average.value, "low": low, "high": high, "n": n, "clusters": len(own), "each": each}


def area(points: Sequence[tuple[float, float]], most: float) -> float:
    """Area under quality against tokens per pass, from 1 to `most` on a logarithmic axis, as a share of it: the mean
    of the best quality that can be had at so many tokens per pass at least. 1 would be the ARM's quality at any number
    (d3LLM's measure, arXiv 2601.07568, with a quality that needs no task).

    points: (tokens per pass, gap) of each setting; nan gaps count as no setting.
    """
    usable = sorted((min(x, most), math.exp(-g)) for x, g in points if x > 0 and math.isfinite(g))
    total, before = 0.0, 1.0
    for i, (x, _) in enumerate(usable):
        if x > before:
            total += math.log(x / before) * max(quality for _, quality in usable[i:])
            before = x
    return total / math.log(most)
