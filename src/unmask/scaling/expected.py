"""How wide the intervals of a planned sweep will be, by simulation: before anything is trained.

    half_widths([run.to_dict() for run in runs])     # {"arm N* exponent": 0.046, ..., "gap, %": 6.1}

The planned grid is given losses of a known law with noise, 40 times, and each table is fitted as `scale fit` fits one:
parabolas, lines, the gap by interpolated minima, the residual bootstrap. What is told is the median half-width of the
95% intervals. The law has its best size in the middle of the sizes of every budget, as far as one law can, the losses
of a small model on text (an irreducible 2.0 nats, 1.8 above it at the middle ARM budget), and a gap of 16 (arXiv
2410.18514); a run scatters by 0.010 (ARM) or 0.015 nats (MDM), and each size by 0.010 nats at all of its budgets, as
seen in runs (docs/scaling.md). Branches of a trunk share their noise.

Shapes: R runs, K budgets, S sizes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unmask.scaling.cost import Cost
from unmask.scaling.gap import gap_rows
from unmask.scaling.isoflop import FEWEST_SIZES, budgets_of
from unmask.scaling.law import Law
from unmask.scaling.selection import USUAL_PAIR
from unmask.scaling.sweep_fit import fit_runs
from unmask.scaling.table import Runs

SWEEPS, RESAMPLES, SEED = 40, 200, 20410
NOISE = {"arm": 0.010, "mdm": 0.015}  # nats, of a run
SIZE_EFFECT = 0.010  # nats, of a size at every budget
FLOOR, ABOVE = 2.0, 1.8  # nats: E, and what is above it at the middle budget of an ARM
LOSS_EXPONENT = 0.17  # of L* - E in C
GAP = 16.0
SIZE_EXPONENTS = (0.3, 0.7)  # of FLOPs a token in C: the range that a plan's sizes may suggest
ENOUGH = 0.5  # share of the simulated sweeps that must give an interval
EXPONENTS = {"n_exponent": "N*", "loss_exponent": "L*"}


def half_widths(runs: list[dict[str, Any]]) -> dict[str, float]:
    """By what it is of: half of a 95% interval; the gap's in percent. What a grid cannot give is left out.

    runs: of a plan, with `objective`, `params`, `tokens`, `budget` (or `flops`), `seed`, perhaps `trunk`.
    """
    if not runs:
        return {}
    table = _table(runs)
    laws = _laws(table)
    pair = USUAL_PAIR if set(USUAL_PAIR) <= set(laws) else None
    table = table.take(np.isin(table.objective, list(laws)))
    rng = np.random.default_rng(SEED)
    widths: dict[str, list[float]] = {}
    for number in range(SWEEPS if len(table) else 0):
        fit = fit_runs(_simulated(table, laws, rng), pair, RESAMPLES, number, approach3=False)
        for name, own in fit.objectives.items():
            for field, words in EXPONENTS.items():
                if own.lines is not None and own.headline.lines is not None:
                    _note(widths, f"{name} {words} exponent", getattr(own.headline.lines, field))
        if pair is not None:
            first, second = (fit.objectives[name].side() for name in pair)
            rows = gap_rows(first, second)
            measured = [row for row in rows if row["form"] == "overlap" and row["low"] is not None]
            if measured:
                halves = [50 * (row["high"] - row["low"]) / row["estimate"] for row in measured]
                widths.setdefault("gap, %", []).append(float(np.median(halves)))
    return {name: float(np.median(halves)) for name, halves in widths.items() if len(halves) >= ENOUGH * SWEEPS}


def _note(widths: dict[str, list[float]], name: str, draws_S: np.ndarray) -> None:
    finite = draws_S[np.isfinite(draws_S)]
    if len(finite) > ENOUGH * len(draws_S):
        low, high = np.percentile(finite, [2.5, 97.5])
        widths.setdefault(name, []).append(float(high - low) / 2)


def _table(runs: list[dict[str, Any]]) -> Runs:
    """The planned runs as a table without losses."""
    rows = []
    for i, run in enumerate(runs):
        words = {"where": str(run.get("name", i)), "seed": str(run["seed"]), "trunk": run.get("trunk") or ""}
        numbers = {"flops": run.get("budget") or run["flops"], "params": run["params"], "tokens": run["tokens"]}
        rows.append({"objective": run["objective"], **words, **numbers})
    return Runs.of_rows(rows)


def _laws(table: Runs) -> dict[str, Law]:
    """A law for each objective that has three sizes at two budgets or more."""
    laws: dict[str, Law] = {}
    middles = {name: _middles(table.of(name)) for name in table.names}
    middles = {name: (flops_K, params_K) for name, (flops_K, params_K) in middles.items() if len(flops_K) > 1}
    # Losses are told by the compute of an ARM: an MDM's by a sixteenth of its own.
    equal = {name: np.log(flops_K / (1.0 if name == "arm" else GAP)) for name, (flops_K, _) in middles.items()}
    start = equal.get("arm", next(iter(equal.values()), np.zeros(1))).mean()
    for name, (flops_K, params_K) in middles.items():
        own = table.of(name)
        cost = Cost.of_runs(own.flops, own.params, own.tokens)
        above = ABOVE * math.exp(-LOSS_EXPONENT * (float(equal[name].mean()) - start))
        laws[name] = _law(np.log(flops_K), np.log(params_K), cost, above)
    return laws


def _middles(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """(budgets of at least three sizes, the middle of each one's sizes), [K] each."""
    flops_K, index_R = budgets_of(runs.flops)
    sizes = [np.unique(runs.params[index_R == k]) for k in range(len(flops_K))]
    kept = [k for k, own in enumerate(sizes) if len(own) >= FEWEST_SIZES]
    return flops_K[kept], np.array([math.sqrt(sizes[k][0] * sizes[k][-1]) for k in kept])


def _law(x_K: np.ndarray, y_K: np.ndarray, cost: Cost, above: float) -> Law:
    """Whose best size lies at the middle of the grid, and goes with the budget as the middles do, within reason.

    With f(N) ~ N^s about there, N* ~ C^g for g = beta / (alpha + s beta), and L* - E ~ C^-(alpha g).
    """
    centre = float(y_K.mean())
    step = 0.5
    s = float(cost.log(np.array(centre + step)) - cost.log(np.array(centre - step))) / (2 * step)
    g = float(((x_K - x_K.mean()) * y_K).sum() / ((x_K - x_K.mean()) ** 2).sum())
    g = min(max(g * s, SIZE_EXPONENTS[0]), SIZE_EXPONENTS[1]) / s
    alpha = LOSS_EXPONENT / g
    beta = LOSS_EXPONENT / (1 - s * g)
    of_n, of_d = above * s * beta / (alpha + s * beta), above * alpha / (alpha + s * beta)
    log_tokens = float(x_K.mean()) - float(cost.log(np.array(centre)))
    return Law(FLOOR, of_n * math.exp(alpha * centre), of_d * math.exp(beta * log_tokens), alpha, beta)


def _simulated(table: Runs, laws: dict[str, Law], rng: np.random.Generator) -> Runs:
    """The table with losses: the law's, the size's own, the run's own or that of its trunk."""
    loss_R = np.empty(len(table))
    for name, law in laws.items():
        here = table.objective == name
        own = table.take(here)
        sizes_S, size_R = np.unique(own.params, return_inverse=True)
        noises = [f"{own.trunk[i]}, seed {own.seed[i]}" if own.trunk[i] else str(i) for i in range(len(own))]
        _, noise_R = np.unique(noises, return_inverse=True)
        noise = rng.normal(0, NOISE.get(name, NOISE["mdm"]), int(noise_R.max()) + 1)[noise_R]
        loss_R[here] = law.loss(own.params, own.tokens) + rng.normal(0, SIZE_EFFECT, len(sizes_S))[size_R] + noise
    return Runs(**{**vars(table), "loss": loss_R})
