"""transformers' arm of the comparison writes what ours writes."""

from __future__ import annotations

import pytest
import torch

from unmask.bench.decode.transformers_generate import TransformersGenerate
from unmask.decoding import generate
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer

PROMPTS = [[5, 3, 4], [7], [1, 2, 3, 4, 5, 6, 7], [2, 2], [9, 9]]


def make(causal: bool = True, scale: float = 3.0) -> Model:
    config = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=70, block_size=64, causal=causal, eos_id=0)
    network = Transformer(config, seed=3).eval().requires_grad_(False)
    for weight in network.parameters():
        if weight.ndim == 2:
            weight.mul_(scale)
    return Model(network)


@pytest.fixture(scope="module")
def model() -> Model:
    return make()


@pytest.fixture(scope="module")
def theirs(model: Model) -> TransformersGenerate:
    pytest.importorskip("transformers")
    return TransformersGenerate(model)


@pytest.mark.parametrize("cache", ["static", None])
def test_greedy_tokens_are_the_same(model: Model, theirs: TransformersGenerate, cache: str | None) -> None:
    """Prompts of different lengths, and with packed weights on our side: 32 steps of 5 rows."""
    ours = [g.tokens for g in generate(model, PROMPTS, length=32, temperature=0, eos="fill")]
    assert theirs.generate(PROMPTS, 32, temperature=0, cache=cache) == ours


def test_rows_end_alike(model: Model, theirs: TransformersGenerate) -> None:
    prompts = [[a, b] for a in range(1, 8) for b in range(1, 8)]
    ours = [g.tokens for g in generate(model, prompts, length=30, temperature=0, eos="stop")]
    assert theirs.generate(prompts, 30, temperature=0, stop_at_eos=True) == ours
    assert len({len(row) for row in ours}) > 3, "rows should end at different times"


def test_sampling_leaves_no_token_out() -> None:
    """Their default is the 50 likeliest."""
    pytest.importorskip("transformers")
    flat = TransformersGenerate(make(scale=0.01))
    drawn = flat.generate([[1]] * 500, 2)
    assert len({token for row in drawn for token in row}) > 60
    assert flat.generate([[1]] * 3, 4, seed=1) == flat.generate([[1]] * 3, 4, seed=1)


def test_masked_models_have_no_such_thing() -> None:
    with pytest.raises(UserError, match="autoregressive"):
        TransformersGenerate(make(causal=False))


def test_the_model_is_left_alone(model: Model, theirs: TransformersGenerate) -> None:
    """Exported by a copy."""
    for parameter in theirs.network.parameters():
        assert all(parameter.data_ptr() != own.data_ptr() for own in model.network.parameters())
    assert torch.isfinite(theirs.network(torch.tensor([[1]])).logits).all()
