"""How much arithmetic a pass needs, counted exactly: matrix products and attention, a multiply-add being two.

    forward_flops(config, length=256, head_tokens=128.0)      # one sequence
    training_flops_per_token(config, length=256, head_share=0.5)
    StepCost(config).of(rows=8, length=256, scored=1030)      # what a training step really does

For budgets two rules stand side by side in this library: ``6nd`` is the paper's 6 N D with non-embedding N; ``exact``
counts attention (causal attention needs half the square) and the head where it is computed (an MDM's: at masked
positions only). At small sizes the two differ several-fold, so every budget records which one it used. ``exact`` counts
whole layers and the tokens trained; a step does less, since behind its attention the last layer runs at scored
positions only, and more, since it runs over padding. By that, `StepCost`, speed is measured, but no budget.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass

from unmask.model.config import ModelConfig

FLOPS_RULES = ("exact", "6nd")


def forward_flops(config: ModelConfig, length: int, head_tokens: float) -> float:
    """FLOPs of one forward pass over one sequence of `length` tokens with the head at `head_tokens` positions."""
    linear = 2.0 * length * config.n_layer * config.n_weights_per_layer
    return linear + attention_flops(config, length) + 2.0 * head_tokens * config.n_embd * config.vocab_size


def attention_flops(config: ModelConfig, length: int) -> float:
    """The part of it that is attention: products of queries with keys, and of weights with values."""
    pairs = length * (length + 1) / 2 if config.causal else float(length) * length
    return 4.0 * pairs * config.n_layer * config.n_head * config.head_dim


def training_flops_per_token(config: ModelConfig, length: int, head_share: float, rule: str = "exact") -> float:
    """FLOPs per trained token, the backward pass being twice the forward. `head_share`: tokens the head sees."""
    if rule == "6nd":
        return 6.0 * config.n_params_non_embedding
    return 3.0 * forward_flops(config, length, head_share * length) / length


def finish_flops(config: ModelConfig) -> float:
    """Of one layer at one position, what follows its attention."""
    heads = config.n_head * config.head_dim
    return 2.0 * (heads * config.n_embd + 3 * config.n_embd * config.intermediate_size)


@dataclass(frozen=True)
class StepCost:
    """FLOPs of a forward and backward pass as a training step runs them: matrix products and attention.

    recompute: activation checkpointing, layers run again in the backward pass (up to the last input that is needed).
    adapters: rank of the adapters on the maps named in `adapted`, which alone are trained; 0: all weights are.
    Attention's backward pass counts as two forward passes: a kernel that makes the weights again does more.
    """

    config: ModelConfig
    recompute: bool = False
    adapters: int = 0
    adapted: Collection[str] = ()

    def of(self, rows: int, length: float, scored: float, masked: bool = False) -> float:
        """A micro-batch of `rows` of `length` tokens, padding included, `scored` of them all in all at the head.

        masked: attention is given a mask (examples share a row), so that a causal model too pays for the whole square.
        """
        pairs = length * (length + 1) / 2 if self.config.causal and not masked else float(length) * length
        each = self._each
        return each[0] * rows * length + each[1] * scored + each[2] * rows * pairs

    @functools.cached_property
    def _each(self) -> tuple[float, float, float]:
        """Of one token, of one scored token, of one query with one key."""
        return self._sum(1, 0, 0), self._sum(0, 1, 0), self._sum(0, 0, 1)

    def _sum(self, tokens: int, scored: int, pairs: int) -> float:
        config = self.config
        attention = 4.0 * pairs * config.n_head * config.head_dim
        total, graded = 0.0, not self.adapters  # `graded`: what flows here wants a gradient
        for layer in range(config.n_layer):
            last = scored if layer == config.n_layer - 1 else tokens
            stream, again = graded, 0.0
            for name, n in (("qkv", tokens), ("out", last), ("gate_up", last), ("down", last)):
                if name == "gate_up":
                    stream = graded = stream or graded  # the attention's result is added to what it started from
                forward, backward = self._linear(name, n, graded)
                graded = graded or name in self.adapted
                if name == "qkv":
                    forward, backward = forward + attention, backward + 2 * attention * graded
                total += forward + backward
                if name != "down":
                    again += forward
                elif name in self.adapted:  # up to what the adapter's second matrix is multiplied with
                    again += forward - 2.0 * n * self.adapters * config.n_embd
            graded = stream or graded
            total += again if self.recompute and graded else 0.0
        head = 2.0 * scored * config.n_embd * config.vocab_size
        return total + head * (1 + graded + (not self.adapters))

    def _linear(self, name: str, tokens: float, graded: bool) -> tuple[float, float]:
        """Forward and backward of a map of a layer; `graded`: its input wants a gradient."""
        config, rank = self.config, self.adapters if name in self.adapted else 0
        heads = config.n_head * config.head_dim
        into, out = {
            "qkv": (config.n_embd, heads + 2 * config.n_kv_head * config.head_dim),
            "out": (heads, config.n_embd),
            "gate_up": (config.n_embd, 2 * config.intermediate_size),
            "down": (config.intermediate_size, config.n_embd),
        }[name]
        whole, thin_in, thin_out = (2.0 * tokens * size for size in (into * out, rank * into, rank * out))
        own = 0.0 if self.adapters else whole  # the gradient of the map itself
        return whole + thin_in + thin_out, graded * (whole + thin_in) + own + thin_in + 2 * thin_out
