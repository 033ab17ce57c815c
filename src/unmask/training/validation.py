"""Validation while training: fixed windows, fixed noise, one protocol for both kinds of model.

    windows_NT = validation_windows(TokenData(folder, "validation"), context=256, n=64)
    validate(Model(network), windows_NT, fields)

The windows are spread evenly over the split and the draws depend only on the recipe's validation seed (common random
numbers), so the curves of two runs differ by their models alone. A clean end-of-sequence token precedes each window,
which is one token shorter than the context to make room for it; MDM and ARM score exactly the same tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.likelihood import corpus_bound
from unmask.model.folder import Model
from unmask.training.recipe_fields import ValidationFields


def validation_windows(data: TokenData, context: int, n: int) -> np.ndarray:
    """int64 [N, context - 1]: at most n windows, evenly spread and never overlapping."""
    return np.stack([data.read(int(start), context - 1) for start in window_starts(data, context, n)])


def window_starts(data: TokenData, context: int, n: int) -> np.ndarray:
    """int64 [N]: where in the split these windows begin."""
    length = context - 1
    there = data.n_tokens // length if length else 0
    if there < 1:
        raise UserError(
            f"the {data.split} split of {data.folder} ({data.n_tokens} tokens) is shorter than the context {context}; "
            "use a shorter context, or hold out more text"
        )
    return np.unique(np.linspace(0, there - 1, min(n, there)).astype(np.int64)) * length


def validate(model: Model, windows_NT: np.ndarray, fields: ValidationFields) -> dict[str, Any]:
    """The loss record of a validation: nats per token, its Monte Carlo error, loss by mask share (MDM)."""
    result = corpus_bound(model, windows_NT, draws=fields.draws, seed=fields.seed)
    record: dict[str, Any] = {"loss": result.nats_per_token, "se": result.se, "interval": result.interval}
    record |= {"tokens": result.n_tokens, "method": result.method, "draws": result.draws}
    if result.ce_by_level is not None:
        record["loss_by_level"] = result.ce_by_level
    return record
