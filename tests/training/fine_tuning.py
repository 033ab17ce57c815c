"""A few prompts and answers over bytes, and networks to learn them."""

from __future__ import annotations

import torch

from unmask.model.config import ModelConfig
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

TOKENIZER = Tokenizer.plain_bytes()
EOS, MASK, CONTEXT = 0, 257, 24
ROWS = [
    ("1+1?", "2"),
    ("Say hello", "Hello."),
    ("A", "bcdefgh"),
    ("Once upon", " a time"),
    ("2*3", "6"),
    ("Go", "on!!"),
]


def network(causal: bool = False, seed: int = 1) -> Transformer:
    config = ModelConfig(
        n_layer=2, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=EOS, causal=causal, rope_base=100.0
    )
    made = Transformer(config, seed=seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2.0)
    return made
