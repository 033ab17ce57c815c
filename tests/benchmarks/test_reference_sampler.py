"""The reference's sampler and ours write the same, and the ceiling counts what both do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.ceiling import asked_for
from benchmarks.reference_sampler import noisy, reference_sample
from unmask.decoding import generate
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Model:
    network = Transformer(ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=40, block_size=64), seed=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3.0 if weight.ndim == 2 else 1.0)
    return Model(network.eval())


@pytest.mark.parametrize("guidance", [0.0, 0.8])
@pytest.mark.parametrize("steps", [1, 7, 20])
def test_greedy_confidence_is_the_same(model: Model, steps: int, guidance: float) -> None:
    prompts = [[3, 1, 4], [1, 5, 9]]
    theirs = reference_sample(model.network, torch.tensor(prompts), 20, steps, "confidence", guidance, temperature=0)
    options = {"steps": steps, "order": "confidence", "quota": "paper", "guidance": guidance, "temperature": 0.0}
    assert theirs[:, 3:].tolist() == [row.tokens for row in generate(model, prompts, 20, **options)]


def test_ancestral_fills_everything(model: Model) -> None:
    found = reference_sample(model.network, torch.tensor([[3, 1]]), 20, 6, "ancestral", 0.5, seed=3)
    assert found.shape == (1, 22) and found[0, :2].tolist() == [3, 1] and int(found.max()) < 40
    again = reference_sample(model.network, torch.tensor([[3, 1]]), 20, 6, "ancestral", 0.5, seed=3)
    assert found.equal(again)


def test_noise_draws_from_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    generator = torch.Generator().manual_seed(0)
    for temperature in (1.0, 0.5):
        drawn = noisy(logits.expand(20000, 4), temperature, generator).argmax(-1)
        expected = 20000 * (logits / temperature).softmax(0).numpy()
        chi_square = float((((np.bincount(drawn, minlength=4) - expected) ** 2) / expected).sum())
        assert chi_square < 16.3, "0.1% of three degrees of freedom"
    assert noisy(logits, 0.0, generator) is logits


@pytest.mark.parametrize("order", ["ancestral", "confidence"])
def test_passes_are_those_of_the_engine(model: Model, order: str) -> None:
    quota = {"quota": "paper"} if order == "confidence" else {}
    for length, steps in ((20, 12), (20, 40)):
        rows = generate(model, [[1]] * 64, length, steps=steps, order=order, trace=False, **quota)
        taken = np.array([row.nfe for row in rows])
        passes, asked = asked_for(length, steps, order)
        assert abs(taken.mean() - passes) <= 4 * taken.std() / 8 + 1e-9
        assert asked == length or order == "confidence"
