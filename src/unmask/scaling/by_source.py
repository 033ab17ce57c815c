"""Losses by the source of the text, where the data tells of its documents' sources.

    by_source(Path("data/sweep"), data, starts_N, found.token_nats_NT)     # {"sotu": {"loss": 3.1, "tokens": 9120}}

Beside the manifest of such data lies ``sources.json``: ``{"names": [...], "validation": [...]}``, the place in `names`
of each document of the split, in their order. Documents end at end-of-sequence tokens.

Shapes: N windows, T tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.settings import read_json

SOURCES = "sources.json"


def source_of_tokens(folder: Path, data: TokenData) -> tuple[list[str], np.ndarray] | None:
    """Names, and the place among them of every token of a split; None where the data has no sources.

    An end-of-sequence token counts to the document that it ends. Raises `UserError` where the file is not of this data.
    """
    path = folder / SOURCES
    if not path.is_file():
        return None
    whole = read_json(path)
    names, of = (whole.get("names"), whole.get(data.split)) if isinstance(whole, dict) else (None, None)
    if not isinstance(names, list) or not isinstance(of, list):
        raise UserError(f"{path} has no names and no {data.split}; prepare the data again, or take the file away")
    tokens = data.read(0, data.n_tokens)
    ends = tokens == data.eos_id
    document = np.cumsum(ends) - ends
    if len(of) != int(ends.sum()) or not all(isinstance(i, int) and 0 <= i < len(names) for i in of):
        raise UserError(
            f"{path} tells of {len(of)} documents, and the {data.split} split has {int(ends.sum())}; prepare the data "
            "again, or take the file away"
        )
    return [str(name) for name in names], np.append(of, 0)[document]


def by_source(
    folder: Path, data: TokenData, starts_N: np.ndarray, token_nats_NT: np.ndarray
) -> dict[str, dict[str, Any]] | None:
    """Mean nats a token and their number, by source; None where the data has none.

    starts_N: where in the split each window begins.
    """
    if (known := source_of_tokens(folder, data)) is None:
        return None
    names, sources = known
    source_NT = sources[starts_N[:, None] + np.arange(token_nats_NT.shape[1])]
    found = {}
    for place, name in enumerate(names):
        chosen = source_NT == place
        if count := int(chosen.sum()):
            found[name] = {"loss": float(token_nats_NT[chosen].mean()), "tokens": count}
    return found
