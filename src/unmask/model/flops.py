"""How much arithmetic a pass needs, counted exactly: matrix products and attention, a multiply-add being two.

    forward_flops(config, length=256, head_tokens=128.0)      # one sequence
    training_flops_per_token(config, length=256, head_share=0.5)

Two rules stand side by side in this library: ``6nd`` is the paper's 6 N D with non-embedding N; ``exact`` counts
attention (causal attention needs half the square) and the head where it is computed (an MDM's: at masked positions
only). At small sizes the two differ several-fold, so every budget records which one it used.
"""

from __future__ import annotations

from unmask.model.config import ModelConfig

FLOPS_RULES = ("exact", "6nd")


def forward_flops(config: ModelConfig, length: int, head_tokens: float) -> float:
    """FLOPs of one forward pass over one sequence of `length` tokens with the head at `head_tokens` positions."""
    norms = 2 * config.n_embd
    linear = 2.0 * length * config.n_layer * (config.n_params_per_layer - norms)
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
