"""Two ways to write judged as frontiers: perplexity against entropy over temperatures, never point by point.

    arm, mdm = Cell(...), Cell(...)                          # what a judge said, text by text
    compare(mdm, [arm], Window(3.2, 3.55, 3.6))["gap"]       # {"estimate", "low", "high", "n", "clusters"}

Perplexity under another model falls as entropy does, so a point says nothing (arXiv 2604.02718). The gap is the mean,
over one window of entropy about that of the true texts, of the log perplexity of one less that of the other: below 0
the first one writes text that the judge finds likelier at the same entropy, and exp(-gap) is its quality (the ARM's
own is 1). The window is the same for all settings, since a mean over whatever two curves share ranks settings by where
they write, not by how well. The ARM's frontier is the lowest of the curves of all its settings.

Intervals draw words, seeds and prompt templates again, each by itself (the pigeonhole bootstrap, as `estimates`);
beside them stand Student's intervals over templates (arXiv 2606.29228) and over seeds alone.

Shapes: G groups (a seed and a template each), T temperatures, W words, B draws, N places of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.statistics import mean, middle

SHARED = 0.02  # nats of entropy that two frontiers must have in common, for the mean over these
MOST = 2 / 3  # of the window that both frontiers must reach, in every group
GRID = 33
DRAWS = 400
Headline = dict[str, float | int | None]
FIGURES = ("gap", "gap_at_reference", "gap_common", "gap_per_text")


@dataclass(frozen=True)
class Window:
    """Entropies in nats: the ends, and that of the true texts."""

    low: float
    reference: float
    high: float

    @property
    def grid(self) -> np.ndarray:
        return np.linspace(self.low, self.high, GRID)


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

    def nats_a_text(self, weights_W: np.ndarray | None = None) -> np.ndarray:
        """[G, T]: of the judge, whatever number of its tokens a text has."""
        w = np.ones(self.nats.shape[2]) if weights_W is None else weights_W
        return np.asarray(self.nats @ w / w.sum())


def lowest(grid_N: np.ndarray, x_CT: np.ndarray, y_CT: np.ndarray) -> np.ndarray:
    """The frontier at each x of the grid: the lowest y of the lines through the points of each curve in the order of
    temperatures, which may turn back, since very hot texts repeat rare tokens or end early; inf where none reaches."""
    x_CT, y_CT = np.atleast_2d(x_CT), np.atleast_2d(y_CT)
    x0, x1 = x_CT[:, :-1].reshape(-1, 1), x_CT[:, 1:].reshape(-1, 1)
    y0, y1 = y_CT[:, :-1].reshape(-1, 1), y_CT[:, 1:].reshape(-1, 1)
    wide = np.where(x1 == x0, 1.0, x1 - x0)
    y = np.where(x1 == x0, np.minimum(y0, y1), y0 + (grid_N - x0) / wide * (y1 - y0))
    inside = (grid_N >= np.minimum(x0, x1)) & (grid_N <= np.maximum(x0, x1))
    return np.asarray(np.where(inside, y, np.inf).min(axis=0))


def difference(grid_N: np.ndarray, own: Sequence[np.ndarray], arms: Sequence[np.ndarray]) -> np.ndarray:
    """[N]: own frontier less the ARM's, each (x, y) of one group; nan where one of them does not reach."""
    with np.errstate(invalid="ignore"):
        found = lowest(grid_N, *own) - lowest(grid_N, *arms)
    return np.where(np.isfinite(found), found, np.nan)


def gap(difference_N: np.ndarray, most: float = MOST) -> float:
    """The mean over what is reached; nan where that is less than `most` of the grid."""
    reached = np.isfinite(difference_N)
    return float(difference_N[reached].mean()) if reached.any() and reached.mean() >= most else math.nan


def measured(cell: Cell, arms: Sequence[Cell], window: Window, weights_W: np.ndarray | None = None) -> np.ndarray:
    """float64 [G, F]: `FIGURES` of each group, then the share of the window that is reached, the share of that where
    the cell is lower, and the ends of the common range of entropies."""
    x, y = cell.curve(weights_W)
    curves, texts = [arm.curve(weights_W) for arm in arms], [arm.nats_a_text(weights_W) for arm in arms]
    own_text = cell.nats_a_text(weights_W)
    rows = []
    for g in range(len(x)):
        others = np.array([c[0][g] for c in curves]), np.array([c[1][g] for c in curves])
        low, high = max(x[g].min(), others[0].min()), min(x[g].max(), others[0].max())
        common = np.linspace(low, high, GRID) if high - low >= SHARED else np.full(GRID, np.nan)
        grid = np.concatenate([window.grid, [window.reference], common])
        within = difference(grid, (x[g], y[g]), others)
        by_text = difference(window.grid, (x[g], own_text[g]), (others[0], np.array([t[g] for t in texts])))
        inside = within[:GRID]
        below = np.nan if not np.isfinite(inside).any() else np.nanmean(inside[np.isfinite(inside)] < 0)
        rows.append([gap(inside), within[GRID], gap(within[GRID + 1 :], 0), gap(by_text),
                     np.isfinite(inside).mean(), below, low, high])  # fmt: skip
    return np.array(rows)


def word_draws(n_words: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """float64 [B, W]: how often each word is in a sample with replacement."""
    return np.random.default_rng(seed).multinomial(n_words, np.full(n_words, 1 / n_words), draws).astype(float)


def group_draws(cell: Cell, draws: int = DRAWS, seed: int = 1) -> np.ndarray:
    """float64 [B, G]: how often each group counts where seeds and templates are drawn again, each by itself."""
    rng, times_BG = np.random.default_rng(seed), np.ones((draws, len(cell.seeds)))
    for labels in (list(cell.seeds), list(cell.templates)):
        names = list(dict.fromkeys(labels))
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws).astype(float)
        times_BG *= drawn[:, [names.index(label) for label in labels]]
    return times_BG


def compare(cell: Cell, arms: Sequence[Cell], window: Window, draws_BW: np.ndarray | None = None) -> dict[str, Any]:
    """`FIGURES` with their intervals, over_templates, over_seeds, share_below, and how much of the window and of the
    ARM's entropies is shared. The gap is None, with `why`, where some group reaches less than `MOST` of the window."""
    found_GF = measured(cell, arms, window)
    n_groups, n_temperatures, n_words = cell.nats.shape
    draws_BW = word_draws(n_words) if draws_BW is None else draws_BW
    times_BG = group_draws(cell, len(draws_BW))
    drawn_BGF = np.array([measured(cell, arms, window, weights_W) for weights_W in draws_BW])
    n = n_groups * n_temperatures * n_words
    arm_low, arm_high = _range(arms)
    result: dict[str, Any] = {
        "window_reached": float(found_GF[:, 4].min()),
        "entropies": [float(found_GF[:, 6].max()), float(found_GF[:, 7].min())],
        "share_of_arm": max(0.0, float((found_GF[:, 7].min() - found_GF[:, 6].max()) / (arm_high - arm_low))),
    }
    for i, name in enumerate(FIGURES):
        drawn = [group_mean(drawn_BGF[b, :, i], times_BG[b]) for b in range(len(draws_BW))]
        estimate = float(found_GF[:, i].mean())  # nan where one group has none
        result[name] = headline(estimate, np.array(drawn), n, n_words)
    if result["gap"] is None:
        short = f"reaches {result['window_reached']:.0%} of the window of entropy"
        return {**result, "gap": None, "gap_per_text": None, "why": f"its frontier {short}; {MOST:.0%} are needed"}
    return {
        **result,
        "over_templates": _over(found_GF[:, 0], cell.templates, n),
        "over_seeds": _over(found_GF[:, 0], cell.seeds, n),
        "share_below": float(found_GF[:, 5].mean()),
    }


def _range(arms: Sequence[Cell]) -> tuple[float, float]:
    """Of the ARM's entropies, means over groups."""
    x = np.array([arm.curve()[0].mean(axis=0) for arm in arms])
    return float(x.min()), float(x.max())


def group_mean(values_G: np.ndarray, times_G: np.ndarray) -> float:
    """Of the groups that have a gap, each so often; nan where fewer than `MOST` have."""
    known = np.isfinite(values_G)
    counted = float(times_G[known].sum())
    if counted == 0 or counted < MOST * times_G.sum():
        return math.nan
    return float((values_G[known] * times_G[known]).sum() / counted)


def headline(estimate: float, drawn: np.ndarray, n: int, clusters: int) -> Headline | None:
    """An estimate with the middle 95% of its draws, which holds it; None where either is not known."""
    low, high = middle(drawn)
    if low is None or high is None or not math.isfinite(estimate):
        return None
    return {"estimate": estimate, "low": min(low, estimate), "high": max(high, estimate), "n": n, "clusters": clusters}


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
