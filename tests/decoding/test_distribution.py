"""On a network small enough to enumerate, samples follow the exact law of each rule (chi-square).

The oracle backbone (`test_exactness.py`) says more, faster; here the same theory meets a Transformer's own logits,
guidance and temperature among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from decoding.theory import Law, Predict, State, ancestral_law, chi_square, one_by_one_law
from unmask.decoding import generate
from unmask.model.folder import Model

V, L, SAMPLES = 3, 3, 4000


def predictor(model: Model, prompt: State, guidance: float, temperature: float) -> Predict:
    """state -> p_LV, written out from the definition, one state at a time."""

    @cache
    def predict(state: State) -> np.ndarray:
        with torch.no_grad():
            c = model.network(torch.tensor([prompt + state]))[0, len(prompt) :].double()
            u = model.network(torch.tensor([(V,) * len(prompt) + state]))[0, len(prompt) :].double()
        return ((u + (1 + guidance) * (c - u)) / temperature).softmax(-1).numpy()

    return predict


def misfit(model: Model, law: Law, prompt: State, **options: object) -> float:
    """Chi-square over its critical value."""
    found = generate(model, [list(prompt)] * SAMPLES, length=L, trace=False, **options)  # type: ignore[arg-type]
    statistic, critical = chi_square([g.tokens for g in found], law)
    return statistic / critical


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Model]) -> Model:
    return make_model(vocab_size=V)


@pytest.mark.parametrize(
    ("steps", "prompt", "guidance", "temperature"),
    [(1, (), 0.0, 1.0), (2, (), 0.0, 1.0), (5, (), 0.0, 1.0), (3, (1, 0), 0.8, 1.0), (2, (2,), 0.0, 1.5)],
)
def test_ancestral(model: Model, steps: int, prompt: State, guidance: float, temperature: float) -> None:
    law = ancestral_law(predictor(model, prompt, guidance, temperature), L, V, steps)
    options = {"steps": steps, "guidance": guidance, "temperature": temperature}
    assert misfit(model, law, prompt, order="ancestral", **options) < 1


def test_the_ancestral_test_can_fail(model: Model) -> None:
    """Two steps are not one, and guidance and temperature matter: the test above sees each."""
    prompt = (1, 0)
    law = ancestral_law(predictor(model, prompt, 0.8, 1.0), L, V, 3)
    for wrong in ({"steps": 1, "guidance": 0.8}, {"steps": 3}, {"steps": 3, "guidance": 0.8, "temperature": 1.3}):
        assert misfit(model, law, prompt, order="ancestral", **wrong) > 1


@pytest.mark.parametrize("order", ["left-to-right", "random", "confidence"])
def test_one_token_a_step(model: Model, order: str) -> None:
    law = one_by_one_law(predictor(model, (), 0.0, 1.0), L, V, order)
    assert misfit(model, law, (), order=order, quota="even", steps=L) < 1


def test_blocks_of_one_are_left_to_right(model: Model) -> None:
    law = one_by_one_law(predictor(model, (), 0.0, 1.0), L, V, "left-to-right")
    assert misfit(model, law, (), order="ancestral", block=1, steps=L) < 1
