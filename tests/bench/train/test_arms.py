"""The arms of `unmask bench train` compute what ours does."""

from __future__ import annotations

import pytest
import torch

from unmask.bench.train.arms import llama
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer


@pytest.mark.parametrize("causal", [False, True])
def test_llama_sees_both_directions_where_ours_does(causal):
    pytest.importorskip("transformers")
    config = ModelConfig(
        n_layer=2, n_head=4, n_kv_head=2, n_embd=32, vocab_size=50, block_size=16, causal=causal, norm_eps=1e-5
    )
    ours = Transformer(config, seed=0)
    theirs = llama(config, ours)
    tokens_BT = torch.arange(32).reshape(2, 16) % 50
    changed_BT = tokens_BT.clone()
    changed_BT[:, -1] = 49
    with torch.no_grad():
        logits_BTV = theirs(tokens_BT).logits
        torch.testing.assert_close(logits_BTV, ours(tokens_BT), rtol=1e-4, atol=1e-5)
        first_moves = not torch.equal(theirs(changed_BT).logits[:, 0], logits_BTV[:, 0])
    assert first_moves != causal
