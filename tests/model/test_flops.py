"""FLOP counts against PyTorch's own counter on real passes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unmask.model.config import ModelConfig
from unmask.model.flops import forward_flops, training_flops_per_token
from unmask.model.transformer import Transformer

SIZES = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 50, "block_size": 32}


def counted(config: ModelConfig, batch: int, length: int, head_tokens: int, backward: bool = False) -> int:
    network = Transformer(config, seed=0)
    tokens_BT = torch.zeros(batch, length, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        hidden_NE = network.hidden(tokens_BT).flatten(0, 1)[:head_tokens]
        total = network.head(hidden_NE).sum()
        if backward:
            total.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("changes", [{}, {"n_kv_head": 2}, {"intermediate_size": 48}, {"head_dim": 16}])
@pytest.mark.parametrize("head_tokens", [1, 17, 60])
def test_a_forward_pass(changes: dict[str, int], head_tokens: int) -> None:
    config = ModelConfig(**SIZES, **changes)
    assert counted(config, 3, 20, head_tokens) == 3 * forward_flops(config, 20, head_tokens / 3)


def test_training_is_three_forward_passes() -> None:
    config = ModelConfig(**SIZES)
    per_token = training_flops_per_token(config, 20, head_share=0.5)
    # The embedding's gradient is a scatter, the first layer's input needs one: 3x exactly.
    assert counted(config, 2, 20, 20, backward=True) == pytest.approx(40 * per_token, rel=1e-12)


def test_causal_attention_counts_half_the_square() -> None:
    both = ModelConfig(**SIZES)
    causal = ModelConfig(**SIZES, causal=True)
    saved = forward_flops(both, 20, 0) - forward_flops(causal, 20, 0)
    assert saved == 4 * (20 * 19 / 2) * 2 * 32  # the pairs above the diagonal, in two layers


def test_the_papers_rule() -> None:
    config = ModelConfig(**SIZES)
    assert training_flops_per_token(config, 20, 0.5, "6nd") == 6 * config.n_params_non_embedding
