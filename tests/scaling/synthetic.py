"""Sweeps of known laws with noise, on the grid of our own sweep and on others.

runs, law = sweep("mdm", rng, noise=0.015, shape=0.010)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.scaling.law import Law
from unmask.scaling.table import Runs

SHAPES = ((32, 2), (48, 2), (64, 2), (64, 3), (80, 3), (96, 3), (112, 4), (128, 4), (160, 5), (192, 6))
SIZES = [16.0 * layers * width**2 for width, layers in SHAPES]
# budget, its sizes (first and last), seeds
GRIDS = {
    "arm": ((1e12, 0, 5, 2), (2e12, 0, 5, 2), (4e12, 1, 6, 2), (8e12, 1, 6, 2), (1.6e13, 2, 7, 2), (3.2e13, 3, 8, 1))
    + ((6.4e13, 4, 9, 1),),
    "mdm": ((1.6e13, 0, 5, 2), (3.2e13, 1, 6, 2), (6.4e13, 2, 7, 2), (1.28e14, 3, 8, 1), (2.56e14, 4, 9, 1)),
}
CENTRES = {"arm": (8e12, SIZES[4]), "mdm": (6.4e13, SIZES[5])}  # budget and its best size


def law_of(kind: str, alpha: float = 0.34, beta: float = 0.34, floor: float = 2.0, above: float = 1.8) -> Law:
    """Whose best size is in the middle of the grid; `above` is the reducible loss there."""
    flops, params = CENTRES[kind]
    of_a, of_b = above * beta / (alpha + beta), above * alpha / (alpha + beta)
    return Law(floor, of_a * params**alpha, of_b * (flops / 6 / params) ** beta, alpha, beta)


def sweep(
    kind: str, rng: np.random.Generator, noise: float = 0.01, shape: float = 0.0, law: Law | None = None
) -> tuple[Runs, Law]:
    """noise: of a run. shape: what a size adds at every budget. Nats both."""
    law = law or law_of(kind)
    effects = rng.normal(0, shape, len(SIZES))
    rows = []
    for flops, first, last, seeds in GRIDS[kind]:
        for i in range(first, last + 1):
            loss = float(law.loss(SIZES[i], flops / 6 / SIZES[i])) + effects[i]
            rows += [(flops, SIZES[i], loss + rng.normal(0, noise), str(seed)) for seed in range(seeds)]
    flops_R, params_R, loss_R, seed_R = zip(*rows, strict=True)
    return runs_of(kind, flops_R, params_R, loss_R, seed=seed_R), law


def runs_of(
    kind: str,
    flops: Sequence[float],
    params: Sequence[float],
    loss: Sequence[float],
    tokens: Sequence[float] | None = None,
    seed: Sequence[str] | None = None,
    trunk: Sequence[str] | None = None,
    plateau: Sequence[float] | None = None,
    unique: Sequence[float] | None = None,
    best_loss: Sequence[float] | None = None,
    best_tokens: Sequence[float] | None = None,
) -> Runs:
    """A table of one objective."""
    n = len(loss)
    flops_R, params_R = np.array(flops, float), np.array(params, float)

    def words(values: Sequence[str] | None) -> np.ndarray:
        return np.array([""] * n if values is None else values, dtype=object)

    def numbers(values: Sequence[float] | None) -> np.ndarray:
        return np.full(n, np.nan) if values is None else np.array(values, float)

    return Runs(
        apart=np.zeros(n, dtype=bool),
        sources=np.full(n, None, dtype=object),
        where=words([f"line {i + 2}" for i in range(n)]),
        objective=words([kind] * n),
        flops=flops_R,
        params=params_R,
        tokens=flops_R / 6 / params_R if tokens is None else np.array(tokens, float),
        loss=np.array(loss, float),
        seed=words(seed),
        subset=words(None),
        tried=words(None),
        trunk=words(trunk),
        se=numbers(None),
        plateau=numbers(plateau),
        unique=numbers(unique),
        best_loss=numbers(best_loss),
        best_tokens=numbers(best_tokens),
    )


def csv_of(*tables: Runs, columns: str = "objective,flops,params,tokens,loss") -> str:
    """As a file has it; nan is left empty."""
    names = columns.split(",")
    lines = [columns]
    for runs in tables:
        for i in range(len(runs)):
            cells = [getattr(runs, name)[i] for name in names]
            lines.append(",".join("" if isinstance(c, float) and np.isnan(c) else str(c) for c in cells))
    return "\n".join(lines) + "\n"
