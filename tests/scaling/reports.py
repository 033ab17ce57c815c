"""The rows of a synthetic sweep with a plateau and repeated data, and a later run: what a report is made of."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from scaling.synthetic import sweep

UNIQUE = 5e5
COLUMNS = ("objective", "flops", "params", "tokens", "loss", "seed", "plateau", "unique", "best_loss", "best_tokens")


def rows_of(kind: str, rng: np.random.Generator, plateau: float = 0.0) -> list[dict]:
    runs, _ = sweep(kind, rng, noise=0.005)
    names = ("objective", "flops", "params", "tokens", "loss", "seed")
    rows = [{name: getattr(runs, name)[i] for name in names} for i in range(len(runs))]
    return [row | ({"plateau": plateau} if plateau else {}) for row in rows]


def repeats(kind: str, losses: dict[float, float]) -> list[dict]:
    params = 443_040
    tokens = [UNIQUE * epochs for epochs in losses]
    columns = {"objective": kind, "params": params, "unique": UNIQUE, "seed": "0"}
    return [
        columns | {"flops": 6 * params * D, "tokens": D, "loss": loss}
        for D, loss in zip(tokens, losses.values(), strict=True)
    ]


def write(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


LATER = {"name": "large", "objective": "mdm", "params": 2e6, "tokens": 5e7, "flops": 6e14, "loss": 3.7, "se": 0.01}
LATER |= {"step": 9, "rule": "6nd", "curve": {"flops": [3e14, 6e14], "loss": [4.0, 3.7]}}
