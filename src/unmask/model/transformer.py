"""The one backbone: a pre-norm Transformer that is causal (ARM) or sees both directions (MDM) by a field of its config.

    network = Transformer(preset("6M", vocab_size=32000, causal=False))
    hidden_NE = network.hidden(tokens_BT, at=(row_N, place_N))  # the last layer runs past its attention only there,
    logits_NV = network.head(hidden_NE)                         # and so does the head

RMSNorm, rotary embedding (half-split), SwiGLU, no biases, no time input: arXiv 2410.18514, section on the model.
The head has V rows while an MDM's embedding has V + 1: the mask cannot be predicted. Fields of the config vary it as
published models do (biases, norms of queries and keys, a mask within the vocabulary, shifted predictions): each is a
part that a constructor puts in or leaves out. `backbone.py` says what a pass can be asked for.

Shapes: B batch, T tokens, N chosen positions (into the flattened [B * T]), S keys attended to, E width, H query heads,
K key heads, D head dimension, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from unmask.errors import UserError
from unmask.model.alignment import IN_PLACE, At, Shifted
from unmask.model.attention import attend
from unmask.model.backbone import Mixture
from unmask.model.cache import KVCache
from unmask.model.canvas_cache import CanvasCache, CanvasRows
from unmask.model.config import ModelConfig
from unmask.model.cross_entropy import weighted_cross_entropy
from unmask.model.dropout import add_kept, kept, place_keys, steps
from unmask.model.linear import BiasedLinear, Linear, filling
from unmask.model.logits import full_logits
from unmask.model.visibility import Sees, Where, causal, everything


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps
        self.gives: torch.dtype | None = None  # the type of what follows, where that is another

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return y if self.gives is None else y.to(self.gives)


class HeadNorm(RMSNorm):
    """The same of each head on its own, in fp32 whatever comes in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.n_head, config.n_kv_head, config.head_dim
        outputs = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = (BiasedLinear if config.qkv_bias else Linear)(config.n_embd, outputs)
        self.out = Linear(self.heads * self.head_dim, config.n_embd)

    def forward(
        self,
        x_BTE: torch.Tensor,
        rope: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        causal: bool,
        cached: tuple[KVCache | CanvasRows, int, torch.Tensor] | None,
    ) -> torch.Tensor:
        """What the heads gather [B, T, H * D], before the projection `out`."""
        batch, length, _ = x_BTE.shape
        qkv = self.qkv(x_BTE).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim).transpose(1, 2)
        qk, v_BKTD = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        q_BHTD, k_BKTD = self.turned(qk, rope).split([self.heads, self.kv_heads], dim=1)
        if cached is not None:
            cache, layer, positions_BT = cached
            k_BKTD, v_BKTD = cache.write(layer, positions_BT, k_BKTD, v_BKTD)
        if self.kv_heads != self.heads:
            groups = self.heads // self.kv_heads
            k_BKTD, v_BKTD = (x.repeat_interleave(groups, dim=1) for x in (k_BKTD, v_BKTD))
        y_BHTD = attend(q_BHTD, k_BKTD, v_BKTD, mask, causal)
        return y_BHTD.transpose(1, 2).reshape(batch, length, self.heads * self.head_dim)

    def turned(self, qk: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Queries and keys [B, H + K, T, D] where they stand."""
        return rotate(qk, *rope)


class NormedAttention(Attention):
    """With queries and keys normed before they are rotated (Qwen3, arXiv 2505.09388)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.q_norm = HeadNorm(config.head_dim, config.norm_eps)
        self.k_norm = HeadNorm(config.head_dim, config.norm_eps)

    def turned(self, qk: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return rotate(self.normed(qk), *rope).to(qk.dtype)

    def normed(self, qk: torch.Tensor) -> torch.Tensor:
        """fp32, of [B, H + K, ..., D]."""
        q, k = qk.split([self.heads, self.kv_heads], dim=1)
        return torch.cat((self.q_norm(q), self.k_norm(k)), dim=1)


class SwiGLU(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.n_embd, 2 * config.intermediate_size)
        self.down = Linear(config.intermediate_size, config.n_embd)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        if torch.is_grad_enabled():
            return self.down(F.silu(gate) * up)
        return self.down(F.silu(gate, inplace=True).mul_(up))


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.n_embd, config.norm_eps)
        self.attention = (NormedAttention if config.qk_norm else Attention)(config)
        self.mlp_norm = RMSNorm(config.n_embd, config.norm_eps)
        self.mlp = SwiGLU(config)
        self.dropout = 0.0  # while training, where keys are given
        self.steps_E: torch.Tensor
        self.register_buffer("steps_E", None, persistent=False)

    def drop(self, rate: float) -> None:
        self.dropout = rate
        self.steps_E = steps(self.attention_norm.weight.shape[0], self.attention_norm.weight.device)

    def forward(
        self, x_BTE: torch.Tensor, at_N: torch.Tensor | None, keys_BT: torch.Tensor | None, *where: Any
    ) -> torch.Tensor:
        """[B, T, E], or [N, E] at chosen positions. keys_BT: for dropout. `where`: what `Attention` takes beside its
        input."""
        mixed_BTE = self.mix(x_BTE, *where)
        if at_N is None:
            return self.finish(x_BTE, mixed_BTE, keys_BT)
        x_NE, mixed_NE = (x.flatten(0, 1).index_select(0, at_N) for x in (x_BTE, mixed_BTE))
        return self.finish(x_NE, mixed_NE, None if keys_BT is None else keys_BT.flatten().index_select(0, at_N))

    def mix(self, x_BTE: torch.Tensor, *where: Any) -> torch.Tensor:
        """The half of the layer in which positions look at each other."""
        return self.attention(self.attention_norm(x_BTE), *where)

    def finish(self, x: torch.Tensor, mixed: torch.Tensor, keys: torch.Tensor | None = None) -> torch.Tensor:
        """The other half, at each of any positions on its own: [..., E] and [..., H * D] to [..., E].
        keys: [...], for dropout."""
        if keys is not None:
            attention, mlp = kept(keys, self.steps_E, self.dropout)
            x = add_kept(x, self.attention.out(mixed), attention, self.dropout)
            return add_kept(x, self.mlp(self.mlp_norm(x)), mlp, self.dropout)
        if torch.is_grad_enabled():
            x = x + self.attention.out(mixed)
            return x + self.mlp(self.mlp_norm(x))
        # In place: of memory that is asked for anew every page costs, up to a tenth of a pass.
        x = x.add_(self.attention.out(mixed))
        return x.add_(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """``network(tokens_BT) -> logits_BTV``; `hidden` and `head` are its two halves."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, config: ModelConfig, seed: int | None = None) -> None:
        """`seed` draws the paper's initialisation; None leaves the weights to be filled (from a checkpoint)."""
        super().__init__()
        self.config = config
        self.sees, self.alignment = causal if config.causal else everything, config.alignment
        self.recompute = False  # activation checkpointing: layers run again in the backward pass
        self.embedding = nn.Embedding(config.embedding_rows, config.n_embd)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = RMSNorm(config.n_embd, config.norm_eps)
        self.output = None if config.tie_embeddings else Linear(config.n_embd, config.vocab_size)
        cos, sin = rope_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        if seed is not None:
            self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """N(0, 2/(5E)) in variance; the two projections back into the residual stream have std 1/(sqrt(E) L)."""
        generator = torch.Generator().manual_seed(seed)
        width, depth = self.config.n_embd, self.config.n_layer
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            back = name.endswith(("attention.out.weight", "mlp.down.weight"))
            std = 1 / (math.sqrt(width) * depth) if back else math.sqrt(2 / (5 * width))
            weight.copy_(torch.randn(weight.shape, generator=generator) * std)

    def hidden(
        self,
        tokens_BT: torch.Tensor,
        *,
        positions_BT: torch.Tensor | None = None,
        sees: Sees | None = None,
        cache: KVCache | CanvasRows | None = None,
        at: At | None = None,
        level_B: torch.Tensor | None = None,
        mixture: Mixture | None = None,
        dropout_BL: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Final hidden states, after the last norm, as `unmask.model.backbone.Backbone` has it: [B, T, E], or [N, E]
        where `at` asks for some; behind its attention the last layer runs only there. There is no time input.

        cache: a causal model's `KVCache`, where a token attends to all slots up to its own, or rows of a bidirectional
        one's `CanvasCache`, to all of them. Raises `UserError` if the sequence is longer than the context.
        """
        length, slots = tokens_BT.shape[1], tokens_BT.shape[1]
        if length > self.config.block_size:
            raise UserError(f"{length} tokens exceed the context of {self.config.block_size}; shorten the input")
        places_BT = None
        if cache is not None:
            assert positions_BT is not None, "a cache needs positions"
            assert isinstance(cache, KVCache) == self.config.causal, "a KVCache is a causal model's"
            assert at is not None or not isinstance(self.alignment, Shifted), "a shifted window needs `at`"
            cache.begin(positions_BT)
            places_BT, slots = positions_BT, cache.seen
        mask, is_causal = (self.sees if sees is None else sees).for_attention(
            Where(length, slots, tokens_BT.device, places_BT)
        )
        x_BTE = self.embedding(tokens_BT)
        if mixture is not None:
            x_BTE = self.mixed(x_BTE, mixture, places_BT, slots)
        at_N = None if at is None else self.alignment.index(at, length, places_BT, slots)
        asked = None if at_N is None else len(at_N)
        if at_N is not None:
            at_N = F.pad(at_N, (0, filling(len(at_N), self.embedding.weight)))
        where = (self.rope(length, positions_BT, cache), mask, is_causal)
        x_BTE = self.through(x_BTE.to(self.norm.weight.dtype), at_N, dropout_BL, where, cache, places_BT)
        if asked is not None:
            return self.norm(x_BTE[:asked])
        return self.alignment.rows(self.norm(x_BTE))

    def through(
        self,
        x_BTE: torch.Tensor,
        at_N: torch.Tensor | None,
        dropout_BL: torch.Tensor | None,
        where: tuple[Any, ...],
        cache: KVCache | CanvasRows | None,
        places_BT: torch.Tensor | None,
    ) -> torch.Tensor:
        """All layers one after another, the last one as far as it is asked `at_N`."""
        for index, layer in enumerate(self.layers):
            cached = None if cache is None else (cache, index, places_BT)
            keys_BT = None if dropout_BL is None else place_keys(dropout_BL[:, index], x_BTE.shape[1])
            given = (at_N if index == len(self.layers) - 1 else None, keys_BT, *where, cached)
            if self.recompute and torch.is_grad_enabled():
                x_BTE = checkpoint(layer, x_BTE, *given, use_reentrant=False)
            else:
                x_BTE = layer(x_BTE, *given)
        return x_BTE

    def rope(
        self, length: int, positions_BT: torch.Tensor | None, cache: KVCache | CanvasRows | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin at the positions of a pass."""
        if positions_BT is None:
            return self.cos[:length], self.sin[:length]
        if isinstance(cache, CanvasRows):  # padding queries stand behind the last slot, maybe outside the context
            positions_BT = positions_BT.clamp(max=len(self.cos) - 1)
        return self.cos[positions_BT][:, None], self.sin[positions_BT][:, None]

    def mixed(
        self, x_BTE: torch.Tensor, mixture: Mixture, places_BT: torch.Tensor | None, slots: int
    ) -> torch.Tensor:
        """The embeddings with those of a mixture in their places."""
        at_M = IN_PLACE.index((mixture.row_M, mixture.place_M), x_BTE.shape[1], places_BT, slots)
        shares_MK1 = mixture.shares_MK[..., None].to(x_BTE.dtype)
        mixed_ME = (self.embedding(mixture.ids_MK) * shares_MK1).sum(1)
        return x_BTE.flatten(0, 1).index_copy(0, at_M, mixed_ME).view_as(x_BTE)

    def drop(self, rate: float) -> Transformer:
        """This network with that share of what its layers add dropped where `hidden` is given keys, as in training."""
        for layer in self.layers:
            cast(Block, layer).drop(rate)
        return self

    def hold(self, dtype: torch.dtype) -> Transformer:
        """This network, for inference, with its matrices in a type. Norms, what flows from layer to layer and rotary
        tables stay fp32: that costs no time and takes a third of the error away."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.data = module.weight.data.to(dtype)
            elif isinstance(module, RMSNorm):
                module.gives = None if dtype == module.weight.dtype else dtype
        return self

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrices."""
        return self.embedding.weight.dtype

    def cache(self, rows: int, width: int) -> Any:
        """Empty slots for so many rows of so many positions: a `KVCache` of a causal model, else a `CanvasCache`."""
        kind = KVCache if self.config.causal else CanvasCache
        return kind(self.config, rows, width, self.device, self.dtype)

    @property
    def head_weight_VE(self) -> torch.Tensor:
        return self.embedding.weight[: self.config.vocab_size] if self.output is None else self.output.weight

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """fp32 logits [..., V] of hidden states [..., E]."""
        weight_VE = self.head_weight_VE
        if hidden.dtype == weight_VE.dtype == torch.bfloat16 and not torch.is_grad_enabled():
            return full_logits(hidden, weight_VE)
        return F.linear(hidden, weight_VE).float()

    def cross_entropy(
        self, hidden_NE: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of weights_N * CE_N (nats) and, without its graph, CE_N; the logits never stand whole."""
        copy_VE = None if self.output is None else self.output.copy
        return weighted_cross_entropy(hidden_NE, self.head_weight_VE, targets_N, weights_N, copy_VE)

    def forward(self, tokens_BT: torch.Tensor, **where: Any) -> torch.Tensor:
        return self.head(self.hidden(tokens_BT, **where))


def rope_tables(config: ModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [context, D], the half-split pairs repeated; rounded to bf16 where the config says so."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float32)
    angles = torch.outer(
        torch.arange(config.block_size, dtype=torch.float32), 1.0 / config.rope_base ** (half / config.head_dim)
    )
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
    if config.rope_table == "bf16":
        cos, sin = cos.bfloat16().float(), sin.bfloat16().float()
    return cos, sin


def rotate(x_BHTD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding in fp32, returned in the input's type; without gradients an fp32 input is overwritten."""
    x = x_BHTD.float()
    if not torch.is_grad_enabled():
        half = x.shape[-1] // 2
        turned = x.roll(half, dims=-1)
        turned[..., :half].neg_()
        return x.mul_(cos).addcmul_(turned, sin).to(x_BHTD.dtype)
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x_BHTD.dtype)
