"""D0 of made-up curves, losses by source, entropies by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from unmask.data.prepare import PrepareOptions, prepare
from unmask.data.shards import TokenData
from unmask.scaling.by_source import by_source, source_of_tokens
from unmask.scaling.plateau import learned_at, unigram_entropy
from unmask.training.validation import window_starts


def curve(loss, tokens: int, line: int) -> list[dict]:
    """Lines of metrics."""
    return [{"kind": "train", "step": t, "tokens": t, "loss": loss(t)} for t in range(line, tokens + 1, line)]


def test_d0_is_where_the_plateau_ends():
    steep = curve(lambda t: 6.0 if t <= 1_000_000 else 4.0, 4_000_000, 10_000)
    found = learned_at(steep, 6.0)
    assert found is not None and abs(found / 1_000_000 - 1) < 0.05
    noise = np.random.default_rng(0).normal(0, 0.2, 10**6)
    noisy = curve(lambda t: (6.0 if t <= 1_000_000 else 4.0) + noise[t // 10_000], 4_000_000, 10_000)
    assert learned_at(noisy, 6.0) == pytest.approx(found, rel=0.05)
    assert learned_at(curve(lambda t: 5.6, 2_000_000, 10_000), 6.0) is None
    assert learned_at([], 6.0) is None


def test_one_lucky_line_is_no_end_of_the_plateau():
    lucky = curve(lambda t: 4.5 if t == 500_000 else 6.0, 2_000_000, 10_000)
    assert learned_at([{"kind": "validation", "step": 1, "loss": 0.0}, *lucky], 6.0) is None


def test_the_unigrams_entropy_is_that_of_its_counts(data):
    tokens = TokenData(data, "train")
    _, counts = np.unique(tokens.read(0, tokens.n_tokens), return_counts=True)
    p = counts / counts.sum()
    assert unigram_entropy(tokens) == pytest.approx(-sum(x * math.log(x) for x in p))


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
