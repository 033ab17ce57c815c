"""Attention by the way that is fastest for its type and device.

    y_BHTD = attend(q_BHTD, k_BHSD, v_BHSD, mask, causal)

PyTorch's `scaled_dot_product_attention`, but for bf16 on a CPU: there its kernel may be slower than in fp32, and its
backward pass is several times slower than the five products it consists of (docs/performance.md has the measurements).
Likewise for training in fp32 where its products are quick (`fp32_products.py`). So these run as products over a few
heads at a time with the library's softmax between them. The backward pass makes the probabilities again rather than
keep them, but for those of a small model, which are one chunk. Sums inside a product and the softmax are fp32.

Shapes: B batch, H heads, T queries, S keys, D head dimension; h heads at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from unmask.model.fp32_products import products_are_quick

# Scores that stand in memory at a time: 2 MiB in bf16, which the second-level caches hold.
CHUNK = 1 << 20
# A causal model's queries are taken in so many stretches, each with the keys up to its end alone.
STRETCHES, SHORTEST = 4, 128
HIDDEN = -1e30  # added to the score of a key that a mask hides
FEW = 16  # queries of a single row for which the products' setting up costs more than the library's kernel


def attend(
    q_BHTD: torch.Tensor, k_BHSD: torch.Tensor, v_BHSD: torch.Tensor, mask: torch.Tensor | None, causal: bool
) -> torch.Tensor:
    """Softmax(q k^T / sqrt(D)) v, [B, H, T, D]. mask: bool, True where a key may be attended to, broadcast to
    [B, H, T, S]; causal: query t sees keys up to t alone (then T = S and there is no mask)."""
    if q_BHTD.device.type == "cpu" and _by_products(q_BHTD):
        scores = math.prod(q_BHTD.shape[:3]) * k_BHSD.shape[2]
        keep = torch.is_grad_enabled() and not causal and scores <= CHUNK
        return _attend(q_BHTD, k_BHSD, v_BHSD, mask, causal, keep)[0]
    return F.scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=mask, is_causal=causal)


def _by_products(q_BHTD: torch.Tensor) -> bool:
    """As measured: in bf16 but for few queries, in fp32 to train where products are quick (docs/performance.md)."""
    if q_BHTD.dtype == torch.float32:
        return torch.is_grad_enabled() and products_are_quick()
    few = len(q_BHTD) == 1 and q_BHTD.shape[2] <= FEW and not torch.is_grad_enabled()
    return q_BHTD.dtype == torch.bfloat16 and not few


@torch.library.custom_op("unmask::attend", mutates_args=())
def _attend(
    q_BHTD: torch.Tensor,
    k_BHSD: torch.Tensor,
    v_BHSD: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    keep: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One opaque operator, so that `torch.compile` does not unroll the chunks.

    keep: of what is one chunk, the probabilities [B * H, T, S] for the backward pass as well; else they are empty.
    """
    y_BHTD = torch.empty_like(q_BHTD, memory_format=torch.contiguous_format)
    q, k, v, y = _heads(q_BHTD) / math.sqrt(q_BHTD.shape[-1]), _heads(k_BHSD), _heads(v_BHSD), _heads(y_BHTD)
    bias, p_hTS = _Bias(mask, q_BHTD), q.new_empty(0)
    for heads, queries, keys in _parts(q, k, causal):
        p_hTS = _probabilities(q[heads, queries], k[heads, keys], bias.of(heads), causal)
        torch.bmm(p_hTS, v[heads, keys], out=y[heads, queries])
    return y_BHTD, p_hTS if keep else q.new_empty(0)


@_attend.register_fake
def _(
    q_BHTD: torch.Tensor,
    k_BHSD: torch.Tensor,
    v_BHSD: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    keep: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    kept = (q_BHTD.shape[0] * q_BHTD.shape[1], q_BHTD.shape[2], k_BHSD.shape[2]) if keep else (0,)
    return torch.empty_like(q_BHTD, memory_format=torch.contiguous_format), q_BHTD.new_empty(kept)


@torch.library.custom_op("unmask::attend_backward", mutates_args=())
def _backward(
    grad_BHTD: torch.Tensor,
    q_BHTD: torch.Tensor,
    k_BHSD: torch.Tensor,
    v_BHSD: torch.Tensor,
    mask: torch.Tensor | None,
    y_BHTD: torch.Tensor,
    kept_hTS: torch.Tensor,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The slope of scores is P * (g v^T - sum of g * y). The sum goes into the product as two more columns (its value
    in bf16 and what that leaves over), so that one multiplication is all that is left to do at every score.
    """
    scale = 1 / math.sqrt(q_BHTD.shape[-1])
    g, q, k, v = _heads(grad_BHTD), _heads(q_BHTD) * scale, _heads(k_BHSD), _heads(v_BHSD)
    sum_hT1 = (g.float() * _heads(y_BHTD)).sum(-1, keepdim=True).neg_()
    rounded_hT1 = sum_hT1.to(g.dtype)
    g_and_sum = torch.cat((g, rounded_hT1, (sum_hT1 - rounded_hT1).to(g.dtype)), dim=-1)
    v_and_ones = F.pad(v, (0, 2), value=1.0)
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    bias = _Bias(mask, q_BHTD)
    for heads, queries, keys in _parts(q, k, causal):
        p_hTS = kept_hTS
        if not len(kept_hTS):
            p_hTS = _probabilities(q[heads, queries], k[heads, keys], bias.of(heads), causal)
        slope_hTS = torch.bmm(g_and_sum[heads, queries], v_and_ones[heads, keys].transpose(1, 2)).mul_(p_hTS)
        torch.bmm(slope_hTS, k[heads, keys], out=dq[heads, queries])
        if keys.stop == k.shape[1]:  # the stretch with all keys comes first
            torch.bmm(p_hTS.transpose(1, 2), g[heads, queries], out=dv[heads, keys])
            torch.bmm(slope_hTS.transpose(1, 2), q[heads, queries], out=dk[heads, keys])
        else:
            dv[heads, keys].baddbmm_(p_hTS.transpose(1, 2), g[heads, queries])
            dk[heads, keys].baddbmm_(slope_hTS.transpose(1, 2), q[heads, queries])
    return dq.mul_(scale).view_as(q_BHTD), dk.view_as(k_BHSD), dv.view_as(v_BHSD)


@_backward.register_fake
def _(
    grad_BHTD: torch.Tensor,
    q_BHTD: torch.Tensor,
    k_BHSD: torch.Tensor,
    v_BHSD: torch.Tensor,
    mask: torch.Tensor | None,
    y_BHTD: torch.Tensor,
    kept_hTS: torch.Tensor,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_BHTD, k_BHSD, v_BHSD))
    return q, k, v


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    ctx.save_for_backward(*inputs[:4], *output)
    ctx.set_materialize_grads(False)  # none comes for the probabilities
    ctx.causal = inputs[4]


def _slopes(ctx: Any, grad_BHTD: torch.Tensor, _: None) -> tuple[torch.Tensor | None, ...]:
    return *_backward(grad_BHTD, *ctx.saved_tensors, ctx.causal), None, None, None


_attend.register_autograd(_slopes, setup_context=_keep)


def _heads(x_BHTD: torch.Tensor) -> torch.Tensor:
    """[B * H, T, D], contiguous."""
    return x_BHTD.reshape(-1, *x_BHTD.shape[2:]).contiguous()


def _parts(q: torch.Tensor, k: torch.Tensor, causal: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Which heads, queries and keys go together."""
    length, seen = q.shape[1], k.shape[1]
    stretch = max(SHORTEST, math.ceil(length / STRETCHES)) if causal else length
    step = max(1, CHUNK // (min(stretch, length) * seen))
    for head in range(0, len(q), step):
        for end in range(length, 0, -stretch):
            yield slice(head, head + step), slice(max(0, end - stretch), end), slice(0, end if causal else seen)


class _Bias:
    """What a mask adds to scores."""

    def __init__(self, mask: torch.Tensor | None, q_BHTD: torch.Tensor) -> None:
        self.heads, self.added = q_BHTD.shape[1], None
        if mask is not None:
            mask = mask.expand(len(q_BHTD), *mask.shape[1:])
            # Not infinite: where a query sees nothing, its answer is of no use, but it is a number.
            self.added = torch.zeros(mask.shape, dtype=q_BHTD.dtype).masked_fill_(~mask, HIDDEN)

    def of(self, heads: slice) -> torch.Tensor | None:
        """[h, T or 1, S] of some of the B * H heads."""
        if self.added is None:
            return None
        rows, every = self.added.shape[:2]
        at_h = torch.arange(heads.start, min(heads.stop, rows * self.heads))
        return self.added[at_h // self.heads, at_h % self.heads if every > 1 else 0]


def _probabilities(q_hTD: torch.Tensor, k_hSD: torch.Tensor, bias: torch.Tensor | None, causal: bool) -> torch.Tensor:
    """Softmax of scaled queries' scores; the last query sees all the keys."""
    length, seen = q_hTD.shape[1], k_hSD.shape[1]
    if causal:
        bias = torch.full((length, seen), -math.inf, dtype=q_hTD.dtype).triu_(1 + seen - length)
    if bias is None:
        scores_hTS = torch.bmm(q_hTD, k_hSD.transpose(1, 2))
    else:
        # Added inside the product: a pass of its own would cost as much as the softmax.
        scores_hTS = torch.baddbmm(bias, q_hTD, k_hSD.transpose(1, 2))
    return torch.softmax(scores_hTS, -1, out=scores_hTS)
