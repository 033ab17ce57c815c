"""The best that a run on repeated data was on its way, beside its final weights, by which every run is scored.

    best_on_the_way(read_records(folder), loss, tokens, steps)     # {"best_loss": 4.31, "best_tokens": 8.2e6}

A model that has seen its tokens many times forgets what it knew of others, so where it stood best is told too. Such
runs are validated 20 times, each time on the same part of the held-out text with the same masks. `best_loss` is the
final score plus what the best validation was below the last one: a difference on the same tokens and draws, whose noise
is far below that of either, and no checkpoint has to be kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

VALIDATIONS, WINDOWS, DRAWS = 20, 256, 2


def best_on_the_way(records: Iterable[dict[str, Any]], loss: float, tokens: float, steps: int) -> dict[str, Any]:
    """`best_loss` (nats a token) and `best_tokens`, trained on until then; nulls where the run has no last validation.

    records: of its metrics. loss: its score, of the final weights, after `steps` steps on `tokens` tokens.
    """
    losses = {int(record["step"]): float(record["loss"]) for record in records if record["kind"] == "validation"}
    if steps not in losses:
        return {"best_loss": None, "best_tokens": None}
    best = min(losses, key=lambda step: (losses[step], step))
    return {"best_loss": loss + (losses[best] - losses[steps]), "best_tokens": tokens * best / steps}
