"""Models small enough to enumerate, whose predictions depend strongly on what they see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

Maker = Callable[..., Model]


@pytest.fixture(scope="session")
def make_model(device: torch.device) -> Maker:
    """make_model(vocab_size=3, causal=False, tokenizer=None, seed=1, **config)."""

    def make(
        vocab_size: int = 3, causal: bool = False, tokenizer: Tokenizer | None = None, seed: int = 1, **fields: int
    ) -> Model:
        shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 24, "eos_id": 0, **fields}
        network = Transformer(ModelConfig(vocab_size=vocab_size, causal=causal, **shape), seed=seed)
        with torch.no_grad():
            for weight in network.parameters():
                if weight.ndim == 2:
                    weight.mul_(2.5)
        return Model(network.to(device).eval(), tokenizer)

    return make


@pytest.fixture(scope="session")
def mdm(make_model: Maker) -> Model:
    return make_model()


@pytest.fixture(scope="session")
def arm(make_model: Maker) -> Model:
    return make_model(causal=True)


@pytest.fixture(scope="session")
def writers(make_model: Maker) -> dict[str, Model]:
    """An MDM and an ARM over bytes."""
    tokenizer = Tokenizer.plain_bytes()
    return {
        kind: make_model(tokenizer.vocab_size, causal=kind == "arm", tokenizer=tokenizer, block_size=64)
        for kind in ("mdm", "arm")
    }
