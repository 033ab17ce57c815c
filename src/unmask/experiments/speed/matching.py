"""Pairs of a masked and an autoregressive model by their bits/byte of the true test glosses: how near, at what compute.

    found = pairs(nats, n_bytes, flops, plan)          # nearest first; nats: {"arm": [S, T, W], "mdm": ...}
    in_words(found)

Equal FLOPs make a pair of unequal likelihood (arXiv 2410.18514 gives an MDM 16 times the compute for that reason), so
mdm-large is paired with arm-equal too, an ARM of a smaller budget that was chosen by the validation words. Differences
are word by word, over all templates, with an interval over words and seeds; a pair is equal where both ends lie within
a margin that was set beforehand. Of an MDM it is the bound that is compared, which may lie above its likelihood.

Shapes: S seeds, T templates, W words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmask.experiments.estimates import clustered, ends
from unmask.experiments.speed.plan import ARM, EQUAL, LARGE, Plan


def pairs(
    nats: Mapping[str, np.ndarray], n_bytes_W: np.ndarray, flops: Mapping[str, float | None], plan: Plan
) -> list[dict[str, Any]]:
    """Of each masked model `against` the ARM, and of mdm-large against arm-equal: `difference` (bits/byte), whether it
    is `equal` within the margin, and `flops_ratio` of all training, None where not known. The nearest comes first."""
    bits = {role: own.mean(axis=1) / n_bytes_W / math.log(2) for role, own in nats.items()}  # [S, W]
    wanted = [(role, ARM) for role in plan.masked() if role in nats]
    wanted += [(LARGE, EQUAL)] if {LARGE, EQUAL} <= set(nats) else []
    found = []
    for role, against in wanted:
        difference = clustered(bits[role] - bits[against], range(len(n_bytes_W)), weights=n_bytes_W)
        spent, other = flops[role], flops[against]
        found.append({
            "role": role, "against": against, "difference": difference,
            "equal": max(abs(difference["low"]), abs(difference["high"])) <= plan.equal_margin,
            "margin": plan.equal_margin, "flops_ratio": spent / other if spent and other else None,
        })  # fmt: skip
    return sorted(found, key=lambda pair: abs(pair["difference"]["estimate"]))


def pair_of(found: list[dict[str, Any]], role: str, against: str) -> dict[str, Any] | None:
    return next((pair for pair in found if (pair["role"], pair["against"]) == (role, against)), None)


def in_words(found: list[dict[str, Any]]) -> list[str]:
    """A line a pair, and one that says which is to be read as equal."""
    lines = []
    for pair in found:
        ratio = pair["flops_ratio"]
        lines.append(
            f"{pair['role']} less {pair['against']}: {ends(pair['difference'])} bits/byte at "
            f"{'an unknown share of' if ratio is None else f'{ratio:.1f} times'} its FLOPs"
        )
    nearest, margin = found[0], found[0]["margin"]
    equal = f"equal within {margin:g} bits/byte" if nearest["equal"] else f"not equal: the margin is {margin:g}"
    return [*lines, f"the nearest pair is {nearest['role']} and {nearest['against']}, {equal}"]
