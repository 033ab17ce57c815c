"""Adapters: they begin as nothing, only they learn, and merged weights compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.flops import training_flops_per_token
from unmask.model.lora import adapter_flops_per_token, adapter_metadata, add_adapters, load_adapter, merged_weights
from unmask.model.lora_fields import LoRAFields
from unmask.model.transformer import Transformer

CONFIG = ModelConfig(n_layer=2, n_head=4, n_embd=32, n_kv_head=2, vocab_size=50, block_size=16)
TOKENS = torch.arange(24).reshape(2, 12)


@pytest.mark.parametrize("fields", [{}, {"qkv_bias": True, "qk_norm": True}], ids=str)
def test_adapters_begin_as_nothing_and_merge_to_the_same_logits(fields: dict[str, bool]) -> None:
    config = replace(CONFIG, **fields)
    network = Transformer(config, seed=0)
    for name, weight in network.named_parameters():
        weight.data += 0.1 * name.endswith("bias")
    names, before = list(network.state_dict()), network(TOKENS).detach()
    add_adapters(network, LoRAFields(rank=4, alpha=8), seed=5)
    assert torch.equal(network(TOKENS), before)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 4 * 2 and all(".lora_" in name for name in trained)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.05)
    for _ in range(5):
        network(TOKENS).logsumexp(-1).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = network(TOKENS).detach()
    assert not torch.allclose(changed, before, atol=1e-2)
    weights = merged_weights(network)
    assert list(weights) == names
    plain = Transformer(config)
    plain.load_state_dict(weights)
    torch.testing.assert_close(plain(TOKENS), changed, atol=1e-5, rtol=1e-5)


def test_the_seed_and_the_targets_decide_what_is_added() -> None:
    def adapters(seed: int, targets: str) -> dict[str, torch.Tensor]:
        network = Transformer(CONFIG, seed=0)
        add_adapters(network, LoRAFields(rank=2, targets=targets), seed)
        return {name: p for name, p in network.named_parameters() if p.requires_grad}

    one, again, other = adapters(1, "qkv,down"), adapters(1, "qkv,down"), adapters(2, "qkv,down")
    assert {name.split(".")[-2] for name in one} == {"qkv", "down"}
    assert all(torch.equal(one[name], again[name]) for name in one)
    a = "layers.0.attention.qkv.lora_a"
    assert not torch.equal(one[a], other[a]) and one[a].abs().max() <= 32**-0.5


def test_adapters_cost_less_arithmetic_than_training_all() -> None:
    fields = LoRAFields(rank=2)
    full = training_flops_per_token(CONFIG, 16, 0.5)
    adapters = adapter_flops_per_token(CONFIG, fields, 16, 0.5)
    assert 0.66 * full < adapters < full
    assert adapter_flops_per_token(CONFIG, fields, 16, 0.5, "6nd") == 6.0 * CONFIG.n_params_non_embedding
    network = Transformer(CONFIG, seed=0)
    add_adapters(network, fields, 0)
    count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    without = adapter_flops_per_token(CONFIG, LoRAFields(rank=1), 16, 0.5)
    assert adapters - without == 6 * count / 2, "six for each parameter of an adapter"


def test_a_file_of_adapters_brings_them_to_a_base(tmp_path: Path) -> None:
    network, fields = Transformer(CONFIG, seed=0), LoRAFields(rank=2, alpha=5, targets="out,down")
    add_adapters(network, fields, seed=1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    path = tmp_path / "adapter.safetensors"
    adapters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    save_file(adapters, path, metadata=adapter_metadata(fields))
    base = Transformer(CONFIG, seed=0)
    load_adapter(base, path)
    assert torch.equal(base(TOKENS), network(TOKENS))
    with pytest.raises(UserError, match="is of another model"):
        load_adapter(Transformer(ModelConfig(n_layer=1, n_head=4, n_embd=32, vocab_size=50, block_size=16)), path)
    save_file(adapters, path)
    with pytest.raises(UserError, match="holds no adapters of unmask"):
        load_adapter(Transformer(CONFIG), path)
    path.write_bytes(b"short")
    with pytest.raises(UserError, match="cannot be read"):
        load_adapter(Transformer(CONFIG), path)
