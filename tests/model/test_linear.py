"""The copy does what a cast at every use does, and the weight keeps its type and its gradient."""

from __future__ import annotations

import pytest
import torch

from unmask.model.config import ModelConfig
from unmask.model.linear import WHOLE, Linear, linear_maps, write_copies
from unmask.model.lora import add_adapters
from unmask.model.lora_fields import LoRAFields
from unmask.model.transformer import Transformer

CONFIG = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=12, causal=False)
TOKENS = torch.arange(24).view(2, 12)


def gradients(network: Transformer, passes: int = 2) -> dict[str, torch.Tensor]:
    for _ in range(passes):  # micro-batches: gradients are summed
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden_BTE = network.hidden(TOKENS)
            loss, _ = network.cross_entropy(hidden_BTE.flatten(0, 1), TOKENS.flatten(), torch.ones(24))
        loss.backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("adapted", [False, True])
def test_a_copy_is_a_cast_made_once(adapted: bool) -> None:
    found = []
    for copied in (False, True):
        network = Transformer(CONFIG, seed=3)
        if adapted:
            add_adapters(network, LoRAFields(rank=2), seed=0)
        if copied:
            write_copies(linear_maps(network), torch.bfloat16)
        found.append(gradients(network))
    cast, copied_too = found
    assert cast.keys() == copied_too.keys() and len(cast) == (16 if adapted else 15)
    for name, gradient in cast.items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(copied_too[name], gradient, rtol=0, atol=0, msg=name)


def test_copies_are_renewed_in_place_but_of_frozen_weights() -> None:
    network = Transformer(CONFIG, seed=3)
    network.layers[0].requires_grad_(False)
    write_copies(linear_maps(network), torch.bfloat16)
    maps = {name: module for name, module in network.named_modules() if isinstance(module, Linear)}
    assert len(maps) == 9
    before = {name: module.copy for name, module in maps.items()}
    with torch.no_grad():
        for module in maps.values():
            module.weight += 1
    write_copies(linear_maps(network), torch.bfloat16)
    for name, module in maps.items():
        assert module.copy is before[name] and module.copy is not None
        assert torch.equal(module.copy, module.weight.bfloat16()) != name.startswith("layers.0.")


def test_without_gradients_and_in_the_state_there_is_no_copy() -> None:
    network = Transformer(CONFIG, seed=3)
    names = set(network.state_dict())
    with torch.no_grad():
        plain = network(TOKENS)
        write_copies(linear_maps(network), torch.bfloat16)
        assert torch.equal(network(TOKENS), plain)
    assert set(network.state_dict()) == names


def test_masked_tokens_come_in_few_shapes_in_bf16_alone() -> None:
    """Rows that only fill up change no loss and no gradient."""
    network = Transformer(CONFIG, seed=3)
    at_N = torch.tensor([1, 4, 5, 20, 23])
    shapes: list[int] = []
    network.layers[-1].mlp.down.register_forward_hook(lambda module, inputs, y: shapes.append(len(y)))

    def gradient() -> torch.Tensor:
        network.zero_grad()
        hidden_NE = network.hidden(TOKENS, at=network.config.alignment.at(at_N, TOKENS.shape[1]))
        assert len(hidden_NE) == 5
        loss, ce_N = network.cross_entropy(hidden_NE, TOKENS.flatten()[at_N], torch.ones(5))
        assert len(ce_N) == 5
        loss.backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    plain = gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        filled = gradient()
    assert shapes == [5, WHOLE]
    assert float((filled - plain).norm()) <= 0.02 * float(plain.norm())
