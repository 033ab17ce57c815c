"""One new token for every row of a causal model: `Transformer.hidden` for a single position, without what it costs
around the arithmetic.

    step = DecodeStep(network, cache, steps=64)        # behind the prompts, which `network.hidden` wrote to the cache
    logits_RV = step.head(step(tokens_R, positions_R))
    step.drop(running_R)                               # rows that have ended leave

A step reads every weight once and does little with it: at one row it takes as long as memory takes to deliver them
(Pope et al., arXiv 2211.05102, section 2). What is left to gain is the rest. Rows at the same position share a slot of
the cache, so their keys are one slice, and nothing needs a mask. Up to three rows cost what one costs; from four on
MKL's plain product falls behind memory, while on weights in its own order (its "packed" GEMM) eight rows cost about 1.5
times one. The packed copies are made once per call where the number of steps repays them, and dropped with it.

Shapes: R rows, E width, F feed-forward width, H query heads, K key heads, D head dimension, S slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from unmask.model.cache import KVCache
from unmask.model.transformer import Block, Transformer

Linear = Callable[[torch.Tensor], torch.Tensor]

# Measured on one and two cores with AVX-512, torch 2.13, MKL 2024.2: docs/decoding.md.
PACKED_ROWS = 4  # from here on packed weights are faster
PACKED_STEPS = 24  # a copy in the packed order costs a few steps
PACKED_BYTES = 1 << 31  # and no more memory than this


class DecodeStep:
    """Calls must come with the cache's rows, in its order."""

    def __init__(self, network: Transformer, cache: KVCache, steps: int = 0) -> None:
        """`steps`: how many calls may be expected."""
        self.network, self.cache = network, cache
        config = network.config
        self.heads, self.kv_heads, self.head_dim = config.n_head, config.n_kv_head, config.head_dim
        self.cos_SD = network.cos
        first, second = network.sin.chunk(2, dim=-1)
        self.sin_SD = torch.cat((-first, second), dim=-1)  # of halves that have changed places
        self.blocks: list[Block] = list(network.layers)  # type: ignore[arg-type]
        self.left = steps
        self.prepare()

    def prepare(self) -> None:
        """Chooses the product of each weight for as many rows as the cache has."""
        rows = self.cache.slots.shape[2]
        size = 4 * self.network.config.n_params
        pack = rows >= PACKED_ROWS and self.left >= PACKED_STEPS and size <= PACKED_BYTES
        self.rows = rows if pack else 0  # that the weights are packed for
        self.linears = [
            tuple(
                linear_of(module, self.rows)
                for module in (block.attention.qkv, block.attention.out, block.mlp.gate_up, block.mlp.down)
            )
            for block in self.blocks
        ]
        self.output = product(self.network.head_weight_VE, self.rows)

    def __call__(self, tokens_R: torch.Tensor, positions_R: torch.Tensor) -> torch.Tensor:
        """Hidden states [R, E] behind tokens_R that stand at positions_R (on the CPU); the cache takes them in."""
        self.left -= 1
        first, last = int(positions_R.min()), int(positions_R.max())
        alike, slots = first == last, last + 1
        if alike:
            cos, sin, mask = self.cos_SD[last], self.sin_SD[last], None
        else:
            positions_R = positions_R.to(tokens_R.device)
            cos, sin = self.cos_SD[positions_R][:, None], self.sin_SD[positions_R][:, None]
            seen_RS = torch.arange(slots, device=tokens_R.device) <= positions_R[:, None]
            mask = torch.zeros(seen_RS.shape, dtype=self.cache.slots.dtype, device=tokens_R.device)
            mask = mask.masked_fill_(~seen_RS, -torch.inf)[:, None, None]
        rows, heads, kv_heads, head_dim = len(tokens_R), self.heads, self.kv_heads, self.head_dim
        every_row = torch.arange(rows, device=tokens_R.device)
        grouped = kv_heads != heads
        x_RE = F.embedding(tokens_R, self.network.embedding.weight)
        for block, slots_BKSD, (qkv, out, gate_up, down) in zip(
            self.blocks, self.cache.slots, self.linears, strict=True
        ):
            qkv_RHD = qkv(block.attention_norm(x_RE)).view(rows, heads + 2 * kv_heads, head_dim)
            qk_RHD = qkv_RHD[:, : heads + kv_heads]
            turned_RHD = qk_RHD.roll(head_dim // 2, -1)
            qk_RHD.mul_(cos).addcmul_(turned_RHD, sin)
            kv_RKD = qkv_RHD[:, heads:].view(rows, 2, kv_heads, head_dim).transpose(0, 1)
            if alike:
                slots_BKSD[:, :, :, last] = kv_RKD
            else:
                slots_BKSD[:, every_row, :, positions_R] = kv_RKD.transpose(0, 1)
            keys, values = slots_BKSD[:, :, :, :slots].unbind()
            y = F.scaled_dot_product_attention(
                qkv_RHD[:, :heads, None], keys, values, attn_mask=mask, enable_gqa=grouped
            )
            x_RE.add_(out(y.reshape(rows, heads * head_dim)))
            gate, up = gate_up(block.mlp_norm(x_RE)).chunk(2, dim=-1)
            x_RE.add_(down(F.silu(gate).mul_(up)))
        return self.network.norm(x_RE)

    def head(self, hidden_RE: torch.Tensor) -> torch.Tensor:
        """fp32 logits [R, V]."""
        return self.output(hidden_RE).float()

    def drop(self, running_R: torch.Tensor, used: int) -> torch.Tensor:
        """Only the rows marked go on; returns their old indices in the new order. See `KVCache.drop`."""
        order_R = self.cache.drop(running_R, used)
        if self.rows and len(order_R) < PACKED_ROWS or (len(order_R) <= self.rows // 2 and self.left > 2 * PACKED_STEPS):
            self.prepare()
        return order_R


def linear_of(module: nn.Module, rows: int) -> Linear:
    """A layer's linear map; as it is where it is more than a weight (an adapter)."""
    return product(module.weight, rows) if type(module) is nn.Linear else module


def product(weight: torch.Tensor, rows: int) -> Linear:
    """x -> x weight^T, from a copy packed for so many rows where that is wanted and possible."""
    if rows and weight.dtype == torch.float32 and weight.device.type == "cpu" and torch.backends.mkl.is_available():
        return PackedProduct(weight.detach(), rows)
    return partial(F.linear, weight=weight)


class PackedProduct:
    """x -> x weight^T for at most `rows` rows, from weights in the order in which MKL's kernel reads them.

    The operators are those that torch's own compiler uses when it freezes weights.
    """

    def __init__(self, weight: torch.Tensor, rows: int) -> None:
        # An odd number takes three times as long to pack.
        self.weight, self.rows = weight, rows + rows % 2
        self.packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, self.rows)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        count = len(x)
        if count < self.rows:
            x = F.pad(x, (0, 0, 0, self.rows - count))
        return torch.ops.mkl._mkl_linear(x, self.packed, self.weight, None, self.rows)[:count]
