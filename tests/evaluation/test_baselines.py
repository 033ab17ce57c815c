"""What the models are held against is computed as it says."""

from __future__ import annotations

import lzma
import math
from pathlib import Path

import numpy as np
import pytest

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation import baselines
from unmask.evaluation.baselines import Unigram, xz, xz_text


def test_unigram_is_add_one_by_hand() -> None:
    unigram = Unigram.of_counts(np.array([3, 0, 1]))
    assert np.exp(-unigram.nats_V) == pytest.approx([4 / 7, 1 / 7, 2 / 7])
    assert unigram.nats(np.array([[0, 1], [2, 2]])) == pytest.approx([math.log(49 / 4), 2 * math.log(7 / 2)])


def test_unigram_counts_the_whole_split(demo_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TokenData(demo_run / "data", "train")
    counts = np.bincount(data.read(0, data.n_tokens), minlength=data.vocab_size)
    expected = Unigram.of_counts(counts).nats_V
    monkeypatch.setattr(baselines, "CHUNK", 97)
    assert Unigram.of(data).nats_V == pytest.approx(expected)


def test_xz_compresses_the_held_out_text(demo_run: Path) -> None:
    data = TokenData(demo_run / "data", "validation")
    found = xz(data)
    text = data.tokenizer().decode(data.read(0, data.n_tokens)).encode()
    assert found.n_bytes == len(text)
    assert len(lzma.compress(text)) * 0.9 < found.n_compressed <= len(lzma.compress(text)) * 1.1
    assert found.bits_per_byte == 8 * found.n_compressed / found.n_bytes
    with pytest.raises(UserError, match="the held-out text is empty"):
        xz_text("")
