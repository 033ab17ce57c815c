"""D0: where the plateau of a masked model ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.data.shards import TokenData
from unmask.scaling.plateau import learned_at, unigram_entropy


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
