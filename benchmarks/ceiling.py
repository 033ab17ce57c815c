"""How much faster a sampler can be that leaves out what its rule does not need, by arithmetic alone.

    ceiling(config, prompt=0, length=256, steps=128, order="ancestral")["ratio"]       # 2.9 at 6M, V = 32,000

The reference runs layers and head at all positions in every step. Needed are: no pass for a step that commits nothing,
the head at the positions asked for, and behind its attention the last layer there too. Noise and softmax are not
counted on either side, so that a rule which the reference draws expensive noise for can exceed its ceiling.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.reference_sampler import EPSILON
from unmask.model.config import ModelConfig
from unmask.model.flops import finish_flops, forward_flops


def ceiling(config: ModelConfig, prompt: int, length: int, steps: int, order: str) -> dict[str, Any]:
    """Expected passes, and FLOPs of a row by the reference over those needed; for `ancestral` and `confidence`."""
    row = prompt + length
    passes, asked = asked_for(length, steps, order)
    theirs = steps * forward_flops(config, row, row)
    ours = passes * forward_flops(config, row, 0) - (passes * row - asked) * finish_flops(config)
    ours += 2.0 * asked * config.n_embd * config.vocab_size
    return {"passes": passes, "asked": asked, "reference_flops": theirs, "needed_flops": ours, "ratio": theirs / ours}


def asked_for(length: int, steps: int, order: str) -> tuple[float, float]:
    """(passes, positions asked for over all of them), expected where the rule draws its times."""
    times = torch.linspace(1, EPSILON, steps + 1).tolist()
    if order == "ancestral":
        # A position's step is drawn on its own; a step is empty when nobody has it.
        shares = [a - b for a, b in zip(times[:-2], times[1:-1], strict=True)] + [times[-2]]
        return sum(1 - (1 - share) ** length for share in shares), float(length)
    passes = asked = 0
    left = length
    for step in range(steps):
        count = left if step == steps - 1 else int(left * (1 - times[step + 1] / times[step]))
        if count:
            passes, asked = passes + 1, asked + left  # every open position is a candidate
        left -= count
    return float(passes), float(asked)
