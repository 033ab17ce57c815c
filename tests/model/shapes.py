"""Shapes of tiny models."""

from __future__ import annotations

from typing import Any

import torch

from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer

V, T = 11, 9


SIZES: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 16, "vocab_size": V, "block_size": 24}


def make(seed: int = 0, **fields: Any) -> Transformer:
    network = Transformer(ModelConfig(**{**SIZES, **fields}), seed=seed).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(3)  # so that context matters
            else:
                weight.add_(torch.linspace(-0.3, 0.3, len(weight)))
    return network


def tokens(batch: int = 2, length: int = T, rows: int = V) -> torch.Tensor:
    return torch.randint(rows, (batch, length), generator=torch.Generator().manual_seed(1))
