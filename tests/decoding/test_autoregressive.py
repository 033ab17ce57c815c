"""The autoregressive twin against an uncached loop, and rows of different lengths against single ones."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.errors import UserError
from unmask.model.folder import Model

PROMPTS = [[1, 2, 3], [4], [5, 6, 1, 2, 3, 4, 5], [2, 2]]


def uncached_greedy(model: Model, prompt: list[int], length: int) -> tuple[list[int], list[float]]:
    tokens, probabilities = list(prompt), []
    for _ in range(length):
        with torch.no_grad():
            p_V = model.network(torch.tensor([tokens]))[0, -1].double().softmax(-1)
        tokens.append(int(p_V.argmax()))
        probabilities.append(float(p_V.max()))
    return tokens, probabilities


def test_cached_equals_uncached(arm: Model) -> None:
    found = generate(arm, PROMPTS, length=20, temperature=0, eos="fill")
    for prompt, g in zip(PROMPTS, found, strict=True):
        tokens, probabilities = uncached_greedy(arm, prompt, 20)
        assert g.canvas == tokens
        assert g.probabilities == pytest.approx(probabilities, rel=1e-4)
        assert g.nfe == 20 and g.steps == list(range(20))


def test_rows_end_at_their_own_eos_and_equal_single_ones(arm: Model) -> None:
    prompts = PROMPTS * 4
    found = generate(arm, prompts, length=24, seed=2)
    lengths = {len(g.tokens) for g in found}
    assert len(lengths) > 3, "rows should end at different times"
    for row, (prompt, g) in enumerate(zip(prompts, found, strict=True)):
        alone = generate(arm, [prompt], length=24, seed=[(2, row)])[0]
        assert alone.tokens == g.tokens
        assert alone.probabilities == pytest.approx(g.probabilities, rel=1e-4)
        assert g.nfe == len(g.tokens)
        assert (g.stopped == "eos") == (g.tokens[-1] == 0) and 0 not in g.tokens[:-1]
        assert g.canvas == prompt + g.tokens


def test_going_on_past_eos(arm: Model) -> None:
    short, full = (generate(arm, PROMPTS, length=24, seed=2, eos=eos) for eos in ("stop", "fill"))
    for a, b in zip(short, full, strict=True):
        assert len(b.tokens) == 24 and b.tokens[: len(a.tokens)] == a.tokens


def test_samples_follow_the_model(make_model) -> None:
    model = make_model(vocab_size=3, causal=True)
    n = 6000
    found = generate(model, [[1]] * n, length=2)
    counts = torch.zeros(3, 3)
    for g in found:
        counts[g.tokens[0], g.tokens[1]] += 1
    with torch.no_grad():
        first = model.network(torch.tensor([[1]]))[0, -1].softmax(-1)
        second = model.network(torch.tensor([[1, token] for token in range(3)]))[:, -1].softmax(-1)
    expected = n * first[:, None] * second
    assert float(((counts - expected) ** 2 / expected).sum()) < 31.8  # 1 - 1e-4 quantile, 8 degrees of freedom


def test_empty_prompt_starts_from_the_end_of_a_document(arm: Model, make_model) -> None:
    g = generate(arm, [[]], length=5)[0]
    assert g.canvas[0] == 0 and g.tokens == generate(arm, [[0]], length=5)[0].tokens
    with pytest.raises(UserError, match="no end-of-sequence"):
        generate(make_model(causal=True), [[]], length=5)


@pytest.mark.parametrize("options", [{"guidance": 0.5}, {"fill": 3}, {"block": 4}, {"length": 0}])
def test_what_an_arm_cannot_do(arm: Model, options) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        generate(arm, [[1]], **options)


def test_order_and_steps_do_not_concern_it(arm: Model) -> None:
    assert generate(arm, [[1]], length=9, order="confidence", steps=2) == generate(arm, [[1]], length=9)
