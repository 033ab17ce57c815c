"""A tiny masked model with a tokenizer."""

from __future__ import annotations

import pytest

import unmask
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=0)
    return unmask.load(save(tmp_path_factory.mktemp("m") / "mdm", Transformer(config, seed=1), tokenizer))
