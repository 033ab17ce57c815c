"""A model that judges, and what it judges."""

from __future__ import annotations

from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


def bytes_model(causal: bool) -> Model:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=0, causal=causal)
    return Model(Transformer(config, seed=1).eval(), Tokenizer.plain_bytes())
