"""Answers of one question share the reading of their context, and score as if each were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.likelihood import score
from unmask.likelihood.pairs import make_pairs
from unmask.likelihood.shared import WORTH, shareable
from unmask.model.folder import Model

TOKENS = st.integers(0, 2)
ANSWERS = st.lists(st.lists(TOKENS, min_size=1, max_size=9), min_size=1, max_size=4)
QUESTIONS = st.lists(st.tuples(st.lists(TOKENS, min_size=1, max_size=14), ANSWERS), min_size=1, max_size=4)


@settings(max_examples=40)
@given(QUESTIONS, st.sampled_from([1, 60, 10_000]))
def test_as_if_alone(arm: Model, questions: Any, batch_tokens: int) -> None:
    pairs = [(context, answer) for context, answers in questions for answer in answers]
    together = score(arm, pairs, batch_tokens=batch_tokens)
    for pair, found in zip(pairs, together, strict=True):
        alone = score(arm, [pair])[0]
        assert found.logprob == pytest.approx(alone.logprob, rel=1e-5)
        assert (found.greedy, found.n_tokens) == (alone.greedy, alone.n_tokens)


def test_grouped_queries_and_the_whole_context(make_model) -> None:
    model = make_model(causal=True, n_head=4, n_kv_head=2)
    context = [1, 2, 0, 1, 1, 2, 0, 2, 1, 0]
    pairs = [(context, [2] * 14), (context, [0]), (context, [1, 2] * 7), ([2, *context[1:]], [1]), (context * 2, [1])]
    found = score(model, pairs)
    assert [s.logprob for s in found] == pytest.approx([score(model, [p])[0].logprob for p in pairs], rel=1e-5)


def test_a_context_is_read_once(arm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    hidden = arm.network.hidden
    monkeypatch.setattr(arm.network, "hidden", lambda t, **k: (read.append(t.numel()), hidden(t, **k))[1])
    context = [1, 2] * 8
    score(arm, [(context, [0, 1, 2])] * 2 + [(context, [2, 1, 0])] * 2)
    assert sum(read) == 16 + 4 * 2


def test_who_shares(arm: Model) -> None:
    long, short = [1] * WORTH, [1] * (WORTH - 1)
    pairs = make_pairs(arm, [(long, [1]), (short, [1]), (short, [2]), (long, [2, 2]), ([2] * WORTH, [1])])
    assert shareable(pairs) == [[0, 3]]


def test_damage_is_named_here_too(make_model) -> None:
    model = make_model(causal=True)
    with torch.no_grad():
        model.network.output.weight[0, 0] = np.nan
    with pytest.raises(UserError, match="logits are not finite"):
        score(model, [([1] * WORTH, [1, 2]), ([1] * WORTH, [2])])
