"""fp32 products by oneDNN: on where they are quicker and fp32 in truth, off again behind, and training the same."""

from __future__ import annotations

import pytest
import torch

from unmask.model import fp32_products
from unmask.model.attention import attend
from unmask.model.config import ModelConfig
from unmask.model.fp32_products import onednn_is_quicker, products_are_quick, quick_products
from unmask.model.transformer import Transformer


@pytest.fixture
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where they are; what they compute is fp32 on every one without AMX."""
    if any("amx" in flag for flag in fp32_products.processor_flags()):
        pytest.skip("products in bf16 would be allowed here")
    monkeypatch.setattr(fp32_products, "onednn_is_quicker", lambda: True)


def test_on_inside_and_off_behind_also_after_an_error(quicker):
    assert not products_are_quick()
    with pytest.raises(ZeroDivisionError), quick_products():
        assert products_are_quick() and torch.get_float32_matmul_precision() == "medium"
        raise ZeroDivisionError
    assert not products_are_quick() and torch.get_float32_matmul_precision() == "highest"
    with quick_products(wanted=False):
        assert not products_are_quick()


def test_a_setting_of_the_caller_stays(quicker, monkeypatch):
    torch.set_float32_matmul_precision("high")
    try:
        with quick_products():
            assert not products_are_quick() and torch.get_float32_matmul_precision() == "high"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("AMD EPYC", ("avx2",)),
        ("AMD EPYC of later years", ("amx_bf16", "avx512_f")),
        ("Intel(R) Xeon(R)", ("avx512_f",)),
    ],
)
def test_other_processors_keep_their_library(name, flags, monkeypatch):
    monkeypatch.setattr(fp32_products, "processor_name", lambda: name)
    monkeypatch.setattr(fp32_products, "processor_flags", lambda: flags)
    assert not onednn_is_quicker.__wrapped__()


def test_not_where_the_product_is_bf16_in_truth(monkeypatch):
    monkeypatch.setattr(fp32_products, "processor_name", lambda: "AMD EPYC")
    monkeypatch.setattr(fp32_products, "processor_flags", lambda: ("avx512_f",))
    monkeypatch.setattr(fp32_products, "ALLOWED", 1e-9)
    assert not onednn_is_quicker.__wrapped__()
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_in_fp32_is_the_librarys_to_rounding(quicker, causal, masked):
    """Few heads, whose probabilities are kept, and so many that they are made again."""
    if causal and masked:
        pytest.skip("a mask says which keys are seen")
    for batch, length in ((2, 24), (6, 300)):
        generator = torch.Generator().manual_seed(0)
        q, k, v, slope = (torch.randn(batch, 2, length, 16, generator=generator) for _ in range(4))
        mask = torch.rand(batch, 1, 1, length, generator=generator) < 0.8 if masked else None
        found = []
        for quick in (True, False):
            given = [x.clone().requires_grad_() for x in (q, k, v)]
            with quick_products(quick):
                y = attend(*given, mask, causal)
                y.backward(slope)
            found.append([y.detach(), *(x.grad for x in given)])
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("masked", [0, 1, 63, 64, 65])
def test_a_model_trains_alike_with_filled_rows(quicker, masked):
    """Loss and gradients of any number of masked tokens, filled up to few shapes, are those without filling."""
    config = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=36)
    generator = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(0, 50, (2, 36), generator=generator)
    at_N = torch.randperm(72, generator=generator)[:masked]
    targets_N, weights_N = tokens_BT.flatten()[at_N], torch.rand(masked, generator=generator)
    found = []
    for quick in (True, False):
        network = Transformer(config, seed=0)
        with quick_products(quick):
            at = network.config.alignment.at(at_N, tokens_BT.shape[1])
            total, ce_N = network.cross_entropy(network.hidden(tokens_BT, at=at), targets_N, weights_N)
            total.backward()
        assert ce_N.shape == (masked,)
        found.append([total.detach(), ce_N, *(weight.grad for weight in network.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
