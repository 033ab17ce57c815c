"""The fast step against the plain network: the same logits, whoever stands where and whoever has left."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unmask.model.config import ModelConfig
from unmask.model.decode_step import PACKED_STEPS, DecodeStep, PackedProduct
from unmask.model.lora import add_adapters
from unmask.model.lora_fields import LoRAFields
from unmask.model.transformer import Transformer

SHAPE: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 50, "block_size": 96, "causal": True}


QWEN: dict[str, Any] = {"n_kv_head": 2, "head_dim": 12, "qk_norm": True, "qkv_bias": True}


def make(**fields: Any) -> Transformer:
    network = Transformer(ModelConfig(**{**SHAPE, **fields}), seed=0).eval().requires_grad_(False)
    for weight in network.parameters():
        if weight.ndim == 2:
            weight.mul_(2)  # so that context matters
        else:
            weight.add_(torch.linspace(-0.3, 0.3, len(weight)))
    return network


class Rows:
    """Random texts that grow by a token a step, through the step and through the plain network."""

    def __init__(self, network: Transformer, lengths: list[int], steps: int) -> None:
        self.network, self.generator = network, torch.Generator().manual_seed(len(lengths))
        self.texts = [self.draw(length) for length in lengths]
        self.dtype = network.dtype
        self.cache = network.cache(len(lengths), max(lengths) + steps)
        tokens_BT = torch.nn.utils.rnn.pad_sequence(self.texts, batch_first=True)
        positions_BT = torch.arange(tokens_BT.shape[1]).expand(tokens_BT.shape)
        network.hidden(tokens_BT, positions_BT=positions_BT, cache=self.cache)
        self.step = DecodeStep(network, self.cache, steps)

    def draw(self, count: int) -> torch.Tensor:
        return torch.randint(self.network.config.vocab_size, (count,), generator=self.generator)

    def check(self) -> None:
        """A token more for every row: logits as from the whole text anew."""
        new_R = self.draw(len(self.texts))
        positions_R = torch.tensor([len(text) for text in self.texts])
        logits_RV = self.step.head(self.step(new_R, positions_R))
        self.texts = [torch.cat([text, new_R[row : row + 1]]) for row, text in enumerate(self.texts)]
        for text, logits_V in zip(self.texts, logits_RV, strict=True):
            plain_V = self.network(text[None])[0, -1]
            assert logits_V.dtype == torch.float32
            if self.dtype == torch.bfloat16:
                assert (logits_V - plain_V).norm() < 0.03 * plain_V.norm()
                continue
            torch.testing.assert_close(logits_V, plain_V, atol=1e-5, rtol=1e-5)
            assert logits_V.argmax() == plain_V.argmax()

    def drop(self, *leaving: int) -> None:
        """The last rows move into the places of those that leave."""
        staying = [row for row in range(len(self.texts)) if row not in leaving]
        movers = iter(staying[sum(row < len(staying) for row in staying) :])
        order = [row if row in staying else next(movers) for row in range(len(staying))]
        self.cache.move(dict(enumerate(order)), max(len(text) for text in self.texts))
        self.step.use(len(order), self.step.left)
        self.texts = [self.texts[row] for row in order]


@pytest.mark.parametrize("fields", [{}, {"n_kv_head": 2}, {"tie_embeddings": True, "head_dim": 12}, QWEN])
@pytest.mark.parametrize("rows", [1, 3, 4, 7])
@torch.no_grad()
def test_equals_the_network(rows: int, fields: dict[str, Any]) -> None:
    """At one position for all, and at positions of their own."""
    network = make(**fields)
    for lengths in ([5] * rows, [1 + 3 * row % 8 for row in range(rows)]):
        texts = Rows(network, lengths, PACKED_STEPS)
        for _ in range(6):
            texts.check()


@torch.no_grad()
def test_rows_leave() -> None:
    """From anywhere in the batch, through all the sizes at which another product is chosen."""
    texts = Rows(make(n_kv_head=1), [4, 9, 4, 4, 2, 4, 4, 7, 4, 4, 4], 80)
    for leaving in ((0,), (9, 3, 4), (5, 6), (), (2,), (0, 1, 2)):
        texts.check()
        texts.drop(*leaving)
        texts.check()
    assert len(texts.texts) == 1


@torch.no_grad()
def test_packed_weights_where_they_pay() -> None:
    network = make()
    packed = {
        (rows, steps): isinstance(DecodeStep(network, network.cache(rows, 40), steps).output, PackedProduct)
        for rows in (3, 4)
        for steps in (PACKED_STEPS - 1, PACKED_STEPS)
    }
    wanted = {key: key == (4, PACKED_STEPS) and torch.backends.mkl.is_available() for key in packed}
    assert packed == wanted


@torch.no_grad()
def test_adapters_are_heard() -> None:
    network = make()
    plain_V = network(torch.tensor([[1, 2, 3]]))[0, -1]
    add_adapters(network, LoRAFields(rank=2), seed=0)
    for name, weight in network.named_parameters():
        if name.endswith("lora_b"):
            weight.add_(0.3)
    texts = Rows(network, [6] * 5, PACKED_STEPS)
    assert (network(torch.tensor([[1, 2, 3]]))[0, -1] - plain_V).abs().max() > 0.1
    texts.check()
    texts.check()


@pytest.mark.parametrize("fields", [{}, {"n_kv_head": 2}, {"tie_embeddings": True}], ids=str)
@pytest.mark.parametrize("lengths", [[5], [7, 7, 7, 7, 7], [3, 9, 6]], ids=str)
def test_in_bf16_it_is_the_plain_network_in_bf16(fields: dict[str, Any], lengths: list[int]) -> None:
    rows = Rows(make(**fields).hold(torch.bfloat16), lengths, steps=4)
    assert rows.step.fp32 is False and rows.step.head(rows.step.normed_RE).dtype == torch.float32
    for _ in range(4):
        rows.check()
