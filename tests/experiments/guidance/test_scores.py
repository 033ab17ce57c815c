"""Credits against scores written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unmask
from unmask.errors import UserError
from unmask.experiments.guidance.items import Item
from unmask.experiments.guidance.scores import (
    BLIND,
    ONCE,
    TWICE,
    columns,
    credit,
    credits,
    pmi_name,
    pmi_weights,
    scale_name,
)
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer

SCALES = [-0.2, 0.5, 1.0]


def model(causal: bool) -> Model:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=11, block_size=24, eos_id=0, causal=causal)
    network = Transformer(config, seed=2)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(3)
    return Model(network.eval(), None)


def items(n: int = 12) -> list[Item]:
    rng = np.random.default_rng(0)
    drawn = [(rng.integers(1, 11, 5).tolist(), rng.integers(1, 11, (3, 3)).tolist()) for _ in range(n)]
    return [Item(prompt, answers, f"cluster {i % 4}") for i, (prompt, answers) in enumerate(drawn)]


@pytest.mark.parametrize("causal", [False, True])
def test_credits_are_the_ranking_by_scores(causal: bool) -> None:
    it, some = model(causal), items()
    view = "drop" if causal else "mask"
    found = credits(it, some, SCALES, 16, view, ends=True)
    assert found.shape == (12, len(columns(SCALES)))
    place = {name: c for c, name in enumerate(columns(SCALES))}
    for row, item in zip(found, some, strict=True):
        pairs = [(item.prompt, [*answer, 0]) for answer in item.answers]
        plain = [one.logprob for one in unmask.score(it, pairs, draws=16)]
        assert row[place[ONCE]] == row[place[TWICE]] == float(plain[0] == max(plain))
        if not causal:
            guided = [one.logprob for one in unmask.score(it, pairs, guidance=0.5, draws=16)]
            assert row[place[scale_name(0.5)]] == float(guided[0] == max(guided))
        else:
            blind = [one.logprob for one in unmask.score(it, [([0], answer) for _, answer in pairs])]
            pmi = [a - b for a, b in zip(plain, blind, strict=True)]
            assert row[place[BLIND]] == float(blind[0] == max(blind))
            assert row[place[pmi_name(1.0)]] == float(pmi[0] == max(pmi))


def test_columns_name_each_scale_and_the_weight_of_pmi_that_it_is() -> None:
    assert pmi_weights(SCALES) == pytest.approx([1 / 3, 1 / 2, 1])
    assert len(set(columns(SCALES))) == len(columns(SCALES)) == 2 + 3 + 3 + 1


def test_an_item_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="item 0: the continuation has 30 tokens"):
        credits(model(False), [Item([1], [[1] * 30, [2] * 30], "a")], SCALES, 4, "mask", False)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_a_shared_first_place_counts_in_part(nats: list[int]) -> None:
    found = credit([float(value) for value in nats])
    ties = nats.count(min(nats))
    assert found == (1 / ties if nats[0] == min(nats) else 0)
