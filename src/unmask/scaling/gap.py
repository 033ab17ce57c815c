"""The compute gap: how many times the FLOPs of one objective the other needs for the same loss, C_B / C_A.

    rows = gap_rows(Side.of(arm), Side.of(mdm))      # [{"flops", "axis", "form", "estimate", "low", "high", "inside"}]

Forms: `overlap` (the headline) takes the minima of both objectives, one at each budget, and interpolates the other's
log C between its neighbouring budgets at equal loss: only where both were measured. `approach2` compares the lines of
L* in C, `approach3` and `approach3_shared` the frontiers of the laws; these are marked `inside` where both computes lie
within what was run, and extrapolate elsewhere. The gap depends on the loss, hence the axis: it is said at a compute of
A, or of B. An MDM's loss is an upper bound of its negative log-likelihood, so a gap to it is one of
bounds.

Shapes: S resamples, K budgets, C computes asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.scaling.cost import Cost
from unmask.scaling.estimates import estimate, nothing
from unmask.scaling.isoflop import Lines, Minima
from unmask.scaling.law import Law

FORMS = ("overlap", "approach2", "approach3", "approach3_shared")
DECADES_BEYOND = 2  # of the largest budget that lines and laws are followed
EDGE = 1e-6  # relative: a budget is inside its own range


@dataclass(frozen=True)
class Side:
    """One objective: its name, budgets, costs, and fits with their draws (None where there is no such fit)."""

    name: str
    flops_K: np.ndarray
    cost: Cost
    minima: Minima | None = None
    drawn_minima: Minima | None = None
    lines: Lines | None = None
    drawn_lines: Lines | None = None
    laws: dict[str, tuple[Law, Law | None]] | None = None  # by form, with the draws

    @property
    def span(self) -> tuple[float, float]:
        return float(self.flops_K.min()), float(self.flops_K.max())


def gap_rows(a: Side, b: Side, why: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Every form on both axes; a form that cannot be had is one row of nulls with its reason."""
    why = dict(why or {})
    rows = _overlap(a, b) or [no_gap("overlap", why.get("overlap", "no loss was reached by the minima of both"))]
    for form in FORMS[1:]:
        lines = [row for axis, other in ((a, b), (b, a)) for row in _lines(axis, other, form, axis is a)]
        rows += lines or [no_gap(form, why.get(form, "one of the two has no such fit"))]
    return rows


def no_gap(form: str, why: str) -> dict[str, Any]:
    """The row of a form that cannot be had."""
    return {"flops": None, "axis": None, "form": form, **nothing(why), "inside": False}


def on_sources(result: dict[str, Any]) -> tuple[list[tuple[str, float]], dict[str, list[Any]]]:
    """Of a fit's result, for its tables: (objective, compute) of the headline's rows, and by source, with its tokens in
    words, the row at each of them; None where that source has none."""
    places = [(row["axis"], row["flops"]) for row in result["gap"] if row["form"] == FORMS[0] and row["axis"]]
    rows = {}
    for name, entry in result["by_source"].items():
        found = {(row["axis"], row["flops"]): row for row in entry["gap"]}
        words = name if entry["tokens"] is None else f"{name} ({entry['tokens']:,})"
        rows[words] = [found.get(place) for place in places]
    return places, rows


def _overlap(a: Side, b: Side) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for axis, other in ((a, b), (b, a)):
        if axis.minima is None or other.minima is None or other.minima.counts.sum() < 2:
            continue
        theirs = other.minima.counts
        range_ = other.minima.loss[theirs]
        for k in np.flatnonzero(axis.minima.counts):
            loss, log_c = axis.minima.loss[k], axis.minima.log_flops_K[k]
            if not range_.min() <= loss <= range_.max():
                continue
            sign = 1 if axis is a else -1
            gap = sign * (_at_loss(other.minima.log_flops_K[theirs], range_[None], np.array([loss]))[0] - log_c)
            draws = None
            if axis.drawn_minima is not None and other.drawn_minima is not None:
                theirs_SK, mine_S = other.drawn_minima.loss[:, theirs], axis.drawn_minima.loss[:, k]
                draws = np.exp(sign * (_at_loss(other.minima.log_flops_K[theirs], theirs_SK, mine_S) - log_c))
            figure = estimate(np.exp(gap), draws)
            rows.append(_row(axis.minima.flops_K[k], axis.name, "overlap", figure, True))
    return rows


def _at_loss(log_flops_K: np.ndarray, loss_SK: np.ndarray, loss_S: np.ndarray) -> np.ndarray:
    """log C at a loss, by straight lines in L between neighbouring budgets, [S]. A resample may go a little beyond.

    Where noise makes a curve rise between two budgets, the pair of the largest compute that holds the loss counts.
    """
    last = len(log_flops_K) - 2
    holds_SK = (loss_SK[:, :-1] >= loss_S[:, None]) & (loss_SK[:, 1:] <= loss_S[:, None])
    k = np.where(holds_SK.any(1), last - holds_SK[:, ::-1].argmax(1), np.where(loss_S > loss_SK[:, 0], 0, last))
    rows = np.arange(len(loss_S))
    high, low = loss_SK[rows, k], loss_SK[rows, k + 1]
    with np.errstate(all="ignore"):
        share = (high - loss_S) / (high - low)
    crossing = log_flops_K[k] + share * (log_flops_K[k + 1] - log_flops_K[k])
    return np.where(high > low, crossing, np.nan)


def _lines(axis: Side, other: Side, form: str, axis_is_a: bool) -> list[dict[str, Any]]:
    """The gap along one axis by lines or by laws: at its budgets, and by decades beyond."""
    mine, theirs = _frontier(axis, form), _frontier(other, form)
    if mine is None or theirs is None:
        return []
    flops_C = computes(axis.flops_K)
    sign = 1 if axis_is_a else -1
    gap_C, needed_C = _ratio(mine[0], theirs[0], axis.cost, other.cost, flops_C, sign)
    gap_SC = None
    if mine[1] is not None and theirs[1] is not None:
        gap_SC, _ = _ratio(mine[1], theirs[1], axis.cost, other.cost, flops_C, sign)
    rows = []
    for i, flops in enumerate(flops_C):
        inside = _within(flops, axis.span) and _within(needed_C[i], other.span)
        draws = None if gap_SC is None else gap_SC[:, i]
        why = f"by this fit {other.name} does not reach this loss at any compute: its E is above it"
        rows.append(_row(flops, axis.name, form, estimate(gap_C[i], draws, why), inside))
    return rows


def computes(flops_K: np.ndarray) -> np.ndarray:
    """The budgets, and powers of ten up to two decades above the largest."""
    first = int(np.floor(np.log10(flops_K.max()) + 1e-9)) + 1
    return np.concatenate([np.sort(flops_K), 10.0 ** np.arange(first, first + DECADES_BEYOND)])


def _frontier(side: Side, form: str) -> tuple[Any, Any] | None:
    if form == "approach2":
        return None if side.lines is None else (side.lines, side.drawn_lines)
    return (side.laws or {}).get(form)


def _ratio(
    mine: Any, theirs: Any, cost: Cost, other: Cost, flops_C: np.ndarray, sign: int
) -> tuple[np.ndarray, np.ndarray]:
    """(C_B / C_A, the other objective's compute) at computes of one axis, [..., C]."""
    with np.errstate(all="ignore"):  # each resample at its own losses
        if isinstance(mine, Lines):
            needed = theirs.flops_at(mine.loss(flops_C))
        else:
            needed = theirs.flops_at(mine.optimum(flops_C, cost).loss, other)
        return (needed / flops_C) ** sign, needed


def _within(flops: float, span: tuple[float, float]) -> bool:
    return bool(span[0] * (1 - EDGE) <= flops <= span[1] * (1 + EDGE))


def _row(flops: float, axis: str, form: str, figure: dict[str, Any], inside: bool) -> dict[str, Any]:
    return {"flops": float(flops), "axis": axis, "form": form, **figure, "inside": bool(inside)}
