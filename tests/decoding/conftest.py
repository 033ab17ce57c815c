"""Tiny random models whose predictions depend strongly on context, so that a wrong rule shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from decoding.constrained import BPE
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

Maker = Callable[..., Model]


@pytest.fixture(scope="session")
def make_model(device: torch.device) -> Maker:
    """make_model(vocab_size, causal=False, tokenizer=None, seed=1, **config)."""

    def make(
        vocab_size: int = 7, causal: bool = False, tokenizer: Tokenizer | None = None, seed: int = 1, **fields: int
    ) -> Model:
        shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 96, **fields}
        network = Transformer(ModelConfig(vocab_size=vocab_size, causal=causal, **shape), seed=seed)
        with torch.no_grad():
            for weight in network.parameters():
                if weight.ndim == 2:
                    weight.mul_(3.0)
        return Model(network.to(device).eval(), tokenizer)

    return make


@pytest.fixture(scope="session")
def mdm(make_model: Maker) -> Model:
    return make_model()


@pytest.fixture(scope="session")
def arm(make_model: Maker) -> Model:
    return make_model(causal=True, eos_id=0)


@pytest.fixture(scope="session")
def bpe_mdm(make_model: Maker) -> Model:
    return make_model(vocab_size=BPE.vocab_size + 2, tokenizer=BPE, eos_id=0)


@pytest.fixture(scope="session")
def bpe_arm(make_model: Maker) -> Model:
    return make_model(vocab_size=BPE.vocab_size + 2, tokenizer=BPE, eos_id=0, causal=True)
