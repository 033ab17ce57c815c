"""Lines as rows of equal length to train on: one line a row, shuffled, padded with end tokens that are scored.

    facts = write_rows(Path("data"), lines, held_out, tokenizer)     # a prepared folder: `unmask train --data data`

A row is an end token, the line, and end tokens up to the longest line's and one more. Never packed: the files keep a
person's lines together, and `description, end, name` in one window would teach an autoregressive model the other
direction. Training's windows are a row and the end token that the next row begins with.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.manifest import FILE, Manifest, Split
from unmask.data.publish import building
from unmask.data.shards import ShardWriter, narrowest_dtype
from unmask.errors import UserError
from unmask.experiments.reversal.tokens import text_of
from unmask.model.tokenizers import Tokenizer
from unmask.provenance import versions


def row_length(lines: Sequence[str], tokenizer: Tokenizer) -> int:
    """Tokens of a row: the longest line with an end token at either side."""
    return 2 + max(len(tokenizer.encode(text_of(line))) for line in lines)


def rows(lines: Sequence[str], tokenizer: Tokenizer, length: int) -> np.ndarray:
    """int64 [N, length]. Raises `UserError` for a line that does not fit."""
    assert tokenizer.eos_id is not None, "a tokenizer with an end token"
    tokens_NT = np.full((len(lines), length), tokenizer.eos_id, dtype=np.int64)
    for row, line in enumerate(lines):
        ids = tokenizer.encode(text_of(line))
        if len(ids) + 2 > length:
            raise UserError(f"a row of {length} tokens does not hold {line[:60]!r}, which has {len(ids)}; give longer")
        tokens_NT[row, 1 : 1 + len(ids)] = ids
    return tokens_NT


def write_rows(
    folder: Path,
    lines: Sequence[str],
    held_out: Sequence[str],
    tokenizer: Tokenizer,
    length: int,
    seed: int,
    **facts: Any,
) -> None:
    """The prepared folder; `held_out` lines, which fit, are its validation split, `facts` go into the manifest."""
    order = list(lines)
    random.Random(seed).shuffle(order)
    train = rows(order, tokenizer, length)
    # Validation puts an end token before each window itself, which is one token shorter.
    validation = rows(held_out, tokenizer, length)[:, 1:]
    dtype = narrowest_dtype(tokenizer.vocab_size)
    with building(folder, replace=True) as partial:
        splits = {}
        for name, table, texts in (("train", train, order), ("validation", validation, held_out)):
            ids = table.reshape(-1)
            if name == "train":
                ids = np.append(ids, ids[:1])  # what the last window ends with
            writer = ShardWriter(partial, name, dtype, 100_000_000)
            writer.write(ids)
            writer.close()
            n_bytes = sum(len(text_of(text).encode()) for text in texts)
            splits[name] = Split(len(texts), writer.n_tokens, n_bytes, writer.shards)
        tokenizer.save(partial)
        manifest = Manifest(
            {"reader": "unmask.experiments.reversal", "row": length, **facts}, "", tokenizer.hash, tokenizer.vocab_size,
            int(tokenizer.eos_id or 0), dtype, splits, 0, 0, [], versions(),
        )  # fmt: skip
        (partial / FILE).write_text(manifest.to_json(), encoding="utf-8")
