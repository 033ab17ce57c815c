"""Pairs of a masked model and the ARM by their bits/byte of the true test glosses: how near they are, at what compute.

    found = pairs(nats, n_bytes, flops)                # nearest first; nats: {"arm": [S, T, W], "mdm": ...}
    in_words(found)

Equal FLOPs make a pair of unequal likelihood (arXiv 2410.18514 gives an MDM 16 times the compute for that reason), so a
gap is read beside the pair that is equal in it. Differences are word by word, over all templates, with an interval over
words and seeds; of an MDM it is the bound that is compared, which may lie above its likelihood.

Shapes: S seeds, T templates, W words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmask.experiments.estimates import clustered, ends
from unmask.experiments.speed.plan import ARM


def pairs(
    nats: Mapping[str, np.ndarray], n_bytes_W: np.ndarray, flops: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """Of each masked model: `difference` to the ARM (bits/byte), whether it is `equal` (0 lies in its interval), and
    `flops_ratio` of all training, None where that is not known. The nearest comes first."""
    bits = {role: own.mean(axis=1) / n_bytes_W / math.log(2) for role, own in nats.items()}  # [S, W]
    found = []
    for role in (role for role in nats if role != ARM):
        difference = clustered(bits[role] - bits[ARM], range(len(n_bytes_W)), weights=n_bytes_W)
        spent, arm = flops[role], flops[ARM]
        found.append({
            "role": role, "difference": difference, "equal": difference["low"] <= 0 <= difference["high"],
            "flops_ratio": spent / arm if spent and arm else None,
        })  # fmt: skip
    return sorted(found, key=lambda pair: abs(pair["difference"]["estimate"]))


def in_words(found: list[dict[str, Any]]) -> list[str]:
    """A line a pair, and one that says which is to be read as equal."""
    lines = []
    for pair in found:
        ratio = pair["flops_ratio"]
        lines.append(
            f"{pair['role']} less arm: {ends(pair['difference'])} bits/byte at "
            f"{'an unknown share of' if ratio is None else f'{ratio:.1f} times'} the ARM's FLOPs"
        )
    nearest = found[0]["role"]
    equal = "equal within its interval" if found[0]["equal"] else "not equal: none lies within its interval of the ARM"
    return [*lines, f"the nearest pair is {nearest} and arm, {equal}"]
