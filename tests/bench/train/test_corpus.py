"""Random tokens in the shape of a corpus."""

from __future__ import annotations

import numpy as np

from unmask.data.shards import TokenData


def test_corpus_is_read_by_the_usual_reader_and_can_be_learnt(corpus):
    data = TokenData(corpus, "train")
    tokens = data.read(0, data.n_tokens)
    assert data.vocab_size == 300 and 0 <= tokens.min() and tokens.max() < 300
    assert np.bincount(tokens).argmax() == 0  # Zipf: the first is the most frequent
    assert TokenData(corpus, "validation").n_tokens == (1 << 14) // 16
