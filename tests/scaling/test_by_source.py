"""Losses of the same tokens by their source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.shards import TokenData
from unmask.scaling.by_source import by_source, source_of_tokens
from unmask.training.validation import window_starts


def test_losses_by_source_add_up(data, tmp_path: Path):
    assert by_source(str(data), np.zeros(1, dtype=np.int64), np.zeros((1, 15))) is None
    lines = [
        {"text": f"{'short' if i % 3 else 'much longer'} text {i} " * (1 + i % 5), "source": "ab"[i % 3 == 0]}
        | {"split": "validation" if i % 2 else "train"}
        for i in range(60)
    ]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "data"
    prepare(
        PrepareOptions(
            [str(tmp_path / "text.jsonl")], out, tokenizer="bytes", split="field:split", by="source", workers=1
        )
    )
    held_out = TokenData(out, "validation")
    known = source_of_tokens(str(out))
    assert known is not None and known[0] == ["a", "b"]
    wanted = [place for line in lines[1::2] for place in ["ab".index(line["source"])] * (len(line["text"]) + 1)]
    assert known[1].tolist() == wanted
    starts = window_starts(held_out, 16, 12)
    nats = np.random.default_rng(0).random((len(starts), 15))
    found = by_source(str(out), starts, nats)
    assert found is not None and list(found) == ["a", "b"]
    assert sum(part["tokens"] for part in found.values()) == nats.size
    assert sum(part["tokens"] * part["loss"] for part in found.values()) == pytest.approx(nats.sum())
