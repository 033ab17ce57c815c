"""The autoregressive twin against an uncached loop, and rows of different lengths against single ones."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.decoding.state.canvas import Canvas
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


def test_rows_with_settings_of_their_own_equal_single_ones(arm: Model) -> None:
    """Temperature, filters, lengths, ends, bans and forced tokens all differ; many rows, so that weights are packed."""
    prompts = PROMPTS * 3
    n = len(prompts)
    options = {
        "length": [30 + 3 * row for row in range(n)],
        "temperature": [0.0, 1.0, 0.7, 2.0] * 3,
        "top_k": [None, 3, 2] * 4,
        "top_p": [0.5, None, None, 0.9, 0.8, None] * 2,
        "eos": ["stop", "fill", "suppress"] * 4,
        "banned": [[1], [2, 3], []] * 4,
        "forced": [{0: 5}, {4: 0, 5: 6}, None] * 4,
    }
    found = generate(arm, prompts, seed=5, **options)
    for row, g in enumerate(found):
        own = {name: values[row] for name, values in options.items()}
        if own["banned"] == []:
            own["banned"] = None
        alone = generate(arm, [prompts[row]], seed=[(5, row)], **own)[0]
        assert alone.tokens == g.tokens and alone.steps == g.steps and alone.stopped == g.stopped
        assert alone.probabilities == pytest.approx(g.probabilities, rel=1e-4)
        assert (alone.nfe, alone.computed) == (g.nfe, g.computed)
        assert g.nfe == len(g.tokens) and g.computed == len(prompts[row]) + g.nfe - 1
        assert not set(own["banned"] or []) & set(g.tokens)
        assert all(g.tokens[at] == token for at, token in (own["forced"] or {}).items() if at < len(g.tokens))
        assert len(g.tokens) == own["length"] or (g.stopped == "eos" and g.tokens[-1] == 0)
    assert {g.stopped for g in found} == {"eos", "length"}


def test_filters_are_kept(arm: Model) -> None:
    """The tokens drawn are among the likeliest of an uncached network."""
    for g in generate(arm, [[1, 2]] * 12, length=20, top_k=2, eos="fill"):
        for at, token in enumerate(g.tokens, start=2):
            with torch.no_grad():
                logits_V = arm.network(torch.tensor([g.canvas[:at]]))[0, -1]
            assert token in logits_V.topk(2).indices.tolist()


def test_who_watches_sees_every_pass(arm: Model) -> None:
    """And the trace, the times and the passes are the same as when nobody does."""
    seen: list[tuple[int, int, int]] = []

    def watch(canvas: Canvas) -> None:
        seen.append((canvas.passes, int(canvas.open_BL.sum()), int(canvas.nfe_B.sum())))

    watched = generate(arm, PROMPTS, length=9, eos="fill", watch=watch)
    assert seen == [(step, 4 * (9 - step), 4 * step) for step in range(1, 10)] + [(9, 0, 36)]
    for a, b in zip(watched, generate(arm, PROMPTS, length=9, eos="fill"), strict=True):
        assert a.tokens == b.tokens and a.trace == b.trace and a.nfe == b.nfe
        assert [event["step"] for event in b.trace] == list(range(9))
        assert 0 < b.seconds_to_first <= b.seconds


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
