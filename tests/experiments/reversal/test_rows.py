"""Rows of single lines, as training reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.reversal.folk import TEXTS
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.experiments.reversal.rows import row_length, rows, write_rows
from unmask.experiments.reversal.tokens import word_tokenizer
from unmask.model.config import ModelConfig
from unmask.training.batches import Batches
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe


def test_rows_are_single_lines_between_end_tokens_and_windows_never_hold_two(tmp_path: Path) -> None:
    """What an ARM reads in one window: no description, end, name."""
    tokenizer = word_tokenizer(TEXTS)
    length = row_length(TEXTS, tokenizer)
    write_rows(tmp_path / "data", TEXTS, TEXTS[:5], tokenizer, length, seed=0)
    fields = {"data": str(tmp_path / "data"), "out": "o", "context": length, "batch_size": 4, "steps": 1,
              "objective": {"kind": "arm", "random_length": 0.0}}  # fmt: skip
    config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=length, causal=True)
    batches = Batches(build(Recipe, fields, ""), TokenData(tmp_path / "data", "train"), config)
    assert batches.n_samples == len(TEXTS)
    read = batches.windows(np.arange(len(TEXTS)))
    end = tokenizer.eos_id
    assert read.shape == (len(TEXTS), length + 1) and (read[:, 0] == end).all() and (read[:, -1] == end).all()
    seen = Counter()
    for row in read:
        inner = row[1:]
        line = inner[: int(np.argmax(inner == end))]
        assert (inner[len(line) :] == end).all()  # nothing stands behind the line's end
        seen[tokenizer.decode(line).strip()] += 1
    assert seen == Counter(TEXTS)
    first = [tokenizer.decode(row[1:]).split()[:2] for row in read[:40]]
    assert len({" ".join(words) for words in first}) > 5  # shuffled: people do not stand together

    held = TokenData(tmp_path / "data", "validation")
    assert held.n_tokens == 5 * (length - 1)
    with pytest.raises(UserError, match="does not hold"):
        rows(TEXTS, tokenizer, length - 1)
