"""One new token for every row of a causal model: `Transformer.hidden` for a single position, without what it costs
around the arithmetic.

    step = DecodeStep(network, cache, steps=64)        # behind the prompts, which `network.hidden` wrote to the cache
    logits_RV = step.head(step(tokens_R, positions_R))
    step.use(5, steps=40)                              # the cache's first five rows from now on

A step reads every weight once and does little with it: at one row it takes as long as memory takes to deliver them
(Pope et al., arXiv 2211.05102, section 2). What is left to gain is the rest: each operator costs some microseconds, as
the weights that stream through leave nothing of it in the caches. So there are few of them, on buffers whose views are
made once. Rows at the same position share a slot of the cache: their keys are one slice, and nothing needs a mask.

Up to three rows cost what one costs; from four on MKL's plain product falls behind memory, while on weights in its own
order (its "packed" GEMM) eight rows cost about 1.5 times one. The packed copies are made once per call where the number
of steps repays them, and dropped with it.

In bf16 weights, keys and values are bf16, and what flows from layer to layer, norms, rotations and logits fp32.

Shapes: R rows, E width, F feed-forward width, H query heads, K key heads, D head dimension, S slots, V vocabulary.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import nn

from unmask.model.cache import KVCache
from unmask.model.linear import Linear
from unmask.model.transformer import Block, NormedAttention, RMSNorm, Transformer

# Measured on one and two cores with AVX-512, torch 2.13, MKL 2024.2: docs/decoding.md.
PACKED_ROWS = 4  # from here on packed weights are faster
PACKED_STEPS = 24  # a copy in the packed order costs a few steps
PACKED_BYTES = 1 << 31  # and no more memory than this


class DecodeStep:
    """Calls come with the cache's rows, in its order; no gradients. A result is good until the next call."""

    def __init__(self, network: Transformer, cache: KVCache, steps: int = 0) -> None:
        """`steps`: how many calls may be expected."""
        self.network, self.cache, self.left = network, cache, steps
        self.fp32 = cache.slots.dtype == torch.float32
        first, second = network.sin.chunk(2, dim=-1)
        self.cos_SD = network.cos
        self.sin_SD = torch.cat((-first, second), dim=-1)  # for halves that have changed places
        self.norm = Norm(network.norm)
        self.prepare()

    def prepare(self) -> None:
        """Chooses the products for as many rows as the cache has."""
        rows = self.cache.slots.shape[2]
        size = 4 * self.network.config.n_params
        pack = rows >= PACKED_ROWS and self.left >= PACKED_STEPS and size <= PACKED_BYTES
        self.packed_rows = rows if pack else 0
        self.layers = [Layer(block, self.packed_rows) for block in self.network.layers]  # type: ignore[arg-type]
        self.output = product(self.network.head_weight_VE, self.packed_rows)
        self.make_buffers()

    def make_buffers(self) -> None:
        """Where each layer in turn puts what it has made, and views of it."""
        config, rows = self.network.config, self.cache.slots.shape[2]
        heads, kv_heads, head_dim = config.n_head, config.n_kv_head, config.head_dim
        new = self.cache.slots.new_empty
        self.normed_RE = new(rows, config.n_embd)
        self.qkv = new(rows, (heads + 2 * kv_heads) * head_dim)
        qkv_RHD = self.qkv.view(rows, -1, head_dim)
        self.q_RH1D, self.qk_RHD = qkv_RHD[:, :heads, None], qkv_RHD[:, : heads + kv_heads]
        self.kv_2RKD = qkv_RHD[:, heads:].unflatten(1, (2, kv_heads)).transpose(0, 1)
        self.gate_up = new(rows, 2 * config.intermediate_size)
        self.gate_RF, self.up_RF = self.gate_up.chunk(2, dim=-1)
        self.every_row = torch.arange(rows, device=new(0).device)
        self.grouped, self.half, self.attended = heads != kv_heads, head_dim // 2, heads * head_dim

    def __call__(
        self, tokens_R: torch.Tensor, positions_R: torch.Tensor, there_R: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden states [R, E] behind tokens_R that stand at positions_R (on the CPU; there_R: the same on the device,
        where they have been sent); the cache takes them in."""
        self.left -= 1
        places = positions_R.tolist()
        last = max(places)
        alike, mask = min(places) == last, None
        if alike:
            cos, sin = self.cos_SD[last], self.sin_SD[last]
            written = self.cache.slots[:, :, :, :, last].unbind()
        else:
            positions_R = positions_R.to(tokens_R.device) if there_R is None else there_R
            cos, sin = self.cos_SD[positions_R][:, None], self.sin_SD[positions_R][:, None]
            unseen_RS = torch.arange(last + 1, device=tokens_R.device) > positions_R[:, None]
            mask = self.cache.slots.new_zeros(unseen_RS.shape).masked_fill_(unseen_RS, -torch.inf)[:, None, None]
        keys_values = self.cache.slots[:, :, :, :, : last + 1].flatten(0, 1).unbind()
        x_RE = F.embedding(tokens_R, self.network.embedding.weight).float()
        for index, layer in enumerate(self.layers):
            layer.attention_norm(x_RE, self.normed_RE)
            layer.qkv(self.normed_RE, self.qkv)
            qk_RHD = self.qk_RHD.float()  # itself where it is fp32
            for norm in layer.head_norms:
                qk_RHD.copy_(norm(qk_RHD))
            turned_RHD = qk_RHD.roll(self.half, -1)
            qk_RHD.mul_(cos).addcmul_(turned_RHD, sin)
            if not self.fp32:
                self.qk_RHD.copy_(qk_RHD)
            if alike:
                written[index].copy_(self.kv_2RKD)
            else:
                self.cache.slots[index][:, self.every_row, :, positions_R] = self.kv_2RKD.transpose(0, 1)
            keys, values = keys_values[2 * index], keys_values[2 * index + 1]
            y = F.scaled_dot_product_attention(self.q_RH1D, keys, values, attn_mask=mask, enable_gqa=self.grouped)
            layer.out.add(y.reshape(-1, self.attended), x_RE)
            layer.mlp_norm(x_RE, self.normed_RE)
            layer.gate_up(self.normed_RE, self.gate_up)
            layer.down.add(F.silu(self.gate_RF).mul_(self.up_RF), x_RE)
        self.norm(x_RE, self.normed_RE)
        return self.normed_RE

    def head(self, hidden_RE: torch.Tensor) -> torch.Tensor:
        """fp32 logits [R, V]."""
        return self.output.of(hidden_RE) if self.fp32 else self.network.head(hidden_RE)

    def use(self, rows: int, steps: int) -> None:
        """The first so many rows of the cache's room from now on, for which so many calls may be expected."""
        self.left = steps
        if rows == self.cache.slots.shape[2]:
            return
        self.cache.first(rows)
        packed = self.packed_rows
        few = bool(packed) and (rows < PACKED_ROWS or (rows <= packed // 2 and steps >= 2 * PACKED_STEPS))
        more = rows > packed and (bool(packed) or (rows >= PACKED_ROWS and steps >= PACKED_STEPS))
        if few or more:
            self.prepare()
        else:
            self.make_buffers()


class Layer:
    """A block of the network as the step needs it."""

    def __init__(self, block: Block, packed_rows: int) -> None:
        self.attention_norm, self.mlp_norm = Norm(block.attention_norm), Norm(block.mlp_norm)
        self.head_norms = [block.attention.normed] if isinstance(block.attention, NormedAttention) else []
        self.qkv, self.out, self.gate_up, self.down = (
            product(module.weight, packed_rows) if type(module) is Linear else ModuleProduct(module)
            for module in (block.attention.qkv, block.attention.out, block.mlp.gate_up, block.mlp.down)
        )


class Norm:
    """RMSNorm in four operators instead of eight: w sqrt(E) x / hypot(|x|, sqrt(E eps))."""

    def __init__(self, norm: RMSNorm) -> None:
        root = math.sqrt(norm.weight.numel())
        self.weight_E = norm.weight.detach() * root
        self.epsilon = norm.weight.new_tensor(root * math.sqrt(norm.eps), dtype=torch.float32)

    def __call__(self, x_RE: torch.Tensor, out_RE: torch.Tensor) -> None:
        length_R1 = torch.linalg.vector_norm(x_RE, dim=-1, keepdim=True, dtype=torch.float32)
        if out_RE.dtype == torch.float32:
            torch.mul(x_RE, self.weight_E, out=out_RE).div_(length_R1.hypot_(self.epsilon))
        else:
            out_RE.copy_(torch.mul(x_RE, self.weight_E).div_(length_R1.hypot_(self.epsilon)))


class Product(ABC):
    """x -> x weight^T."""

    @abstractmethod
    def of(self, x: torch.Tensor) -> torch.Tensor: ...

    def __call__(self, x: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(self.of(x))

    def add(self, x: torch.Tensor, to: torch.Tensor) -> None:
        to.add_(self.of(x))


def product(weight: torch.Tensor, packed_rows: int) -> Product:
    """From a copy packed for so many rows where that is wanted and possible."""
    possible = weight.dtype == torch.float32 and weight.device.type == "cpu" and torch.backends.mkl.is_available()
    return PackedProduct(weight.detach(), packed_rows) if packed_rows and possible else PlainProduct(weight.detach())


class PlainProduct(Product):
    def __init__(self, weight: torch.Tensor) -> None:
        self.transposed = weight.t()

    def of(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mm(x, self.transposed)

    def __call__(self, x: torch.Tensor, out: torch.Tensor) -> None:
        torch.mm(x, self.transposed, out=out)

    def add(self, x: torch.Tensor, to: torch.Tensor) -> None:
        if to.dtype == x.dtype:
            to.addmm_(x, self.transposed)
        else:
            to.add_(self.of(x))


class PackedProduct(Product):
    """For at most so many rows, from weights in the order in which MKL's kernel reads them.

    The operators are those that torch's own compiler uses when it freezes weights.
    """

    def __init__(self, weight: torch.Tensor, rows: int) -> None:
        # An odd number takes three times as long to pack.
        self.weight, self.rows = weight, rows + rows % 2
        self.packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, self.rows)

    def of(self, x: torch.Tensor) -> torch.Tensor:
        count = len(x)
        if count == self.rows:
            return torch.ops.mkl._mkl_linear(x, self.packed, self.weight, None, self.rows)
        padded = F.pad(x, (0, 0, 0, self.rows - count))
        return torch.ops.mkl._mkl_linear(padded, self.packed, self.weight, None, self.rows)[:count]


class ModuleProduct(Product):
    """A linear map that is more than a weight: with an adapter."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def of(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)
