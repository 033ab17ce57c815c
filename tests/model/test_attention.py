"""Attention in bf16 on a CPU: `make test ARGS=tests/model/test_attention.py`. Values and gradients are those of fp32 to
bf16's precision, whatever the chunks and stretches, eager and compiled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unmask.model import attention
from unmask.model.attention import attend


def material(batch: int, heads: int, length: int, seen: int, dim: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(length)
    shapes = [(batch, length, heads, dim), *[(batch, seen, heads, dim)] * 2, (batch, length, heads, dim)]
    # As in the network: heads behind positions in memory.
    return [torch.randn(s, generator=draw).bfloat16().transpose(1, 2) for s in shapes]


def run(function, q, k, v, grad, **options) -> list[torch.Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    y = function(*leaves, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def worst(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    return max(float((a.float() - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("chunk", [1, 4000, 1 << 20])
@pytest.mark.parametrize("length", [1, 7, 130, 300])
def test_values_and_gradients(monkeypatch: pytest.MonkeyPatch, causal: bool, chunk: int, length: int) -> None:
    monkeypatch.setattr(attention, "CHUNK", chunk)
    monkeypatch.setattr(attention, "SHORTEST", 40)
    q, k, v, grad = material(2, 3, length, length, 8)
    found = run(attend, q, k, v, grad, mask=None, causal=causal)
    wanted = run(F.scaled_dot_product_attention, *(x.float() for x in (q, k, v, grad)), is_causal=causal)
    assert [x.dtype for x in found] == [torch.bfloat16] * 4
    if length == 1:  # the softmax of one score: queries and keys have no gradient but rounding
        assert max(float(x.abs().max()) for x in found[1:3]) < 0.05
        found, wanted = [found[0], found[3]], [wanted[0], wanted[3]]
    assert worst(found, wanted) < 0.008


def test_keys_need_not_be_as_many_as_queries() -> None:
    q, k, v, grad = material(2, 2, 5, 19, 16)
    found = run(attend, q, k, v, grad, mask=None, causal=False)
    assert worst(found, run(F.scaled_dot_product_attention, *(x.float() for x in (q, k, v, grad)))) < 0.008


def test_a_causal_query_sees_nothing_behind_it() -> None:
    q, k, v, _ = material(1, 2, 300, 300, 8)
    before = attend(q, k, v, None, True)
    k[:, :, 200:], v[:, :, 200:] = 9.0, 9.0
    assert torch.equal(attend(q, k, v, None, True)[:, :, :200], before[:, :, :200])


@pytest.mark.parametrize("chunk", [1, 300, 1 << 20])
@pytest.mark.parametrize("shape", [(3, 1, 1, 20), (1, 1, 12, 20), (3, 1, 12, 20), (3, 2, 12, 20), (1, 1, 1, 20)])
def test_a_mask_hides_keys(monkeypatch: pytest.MonkeyPatch, chunk: int, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(attention, "CHUNK", chunk)
    q, k, v, grad = material(3, 2, 12, 20, 8)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[..., 3] = True
    found = run(attend, q, k, v, grad, mask=mask, causal=False)
    wanted = run(F.scaled_dot_product_attention, *(x.float() for x in (q, k, v, grad)), attn_mask=mask)
    assert worst(found, wanted) < 0.01
    seen_BHS = mask.expand(3, 2, 12, 20).any(2)
    assert all(not x[~seen_BHS].any() for x in found[2:])  # what nobody sees has no gradient


def test_a_query_that_sees_nothing_gets_numbers() -> None:
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[0, 0, 4:] = False
    q, k, v, grad = material(2, 2, 6, 6, 8)
    assert all(x.isfinite().all() for x in run(attend, q, k, v, grad, mask=mask, causal=False))


@torch.no_grad()
def test_a_few_queries_and_fp32_take_the_library_s_kernel() -> None:
    q, k, v, _ = material(1, 2, 5, 19, 16)
    assert torch.equal(attend(q, k, v, None, False), F.scaled_dot_product_attention(q, k, v))
    q, k, v, _ = (x.float() for x in material(2, 2, 6, 6, 8))
    assert torch.equal(attend(q, k, v, None, True), F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_the_operators_keep_their_promises() -> None:
    q, k, v, grad = (x.requires_grad_(i < 3) for i, x in enumerate(material(1, 2, 9, 9, 4)))
    mask = torch.ones(1, 1, 1, 9, dtype=torch.bool)
    for given, causal in ((None, True), (mask, False)):
        for keep in (False, True)[: 1 if causal else 2]:
            torch.library.opcheck(attention._attend, (q, k, v, given, causal, keep))
            y, kept = (x.detach() for x in attention._attend(q, k, v, given, causal, keep))
            inputs = (q.detach(), k.detach(), v.detach(), given, y, kept)
            torch.library.opcheck(attention._backward, (grad, *inputs, causal))
