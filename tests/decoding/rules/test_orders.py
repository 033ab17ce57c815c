"""Orders against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.orders import ORDERS, top


def test_top_keeps_rows_apart_and_ties_left() -> None:
    priority = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.1, 0.3, 0.1, 0.1]])
    chosen = top(priority, torch.ones(2, 4, dtype=torch.bool), torch.tensor([2, 2]))
    assert chosen.tolist() == [[True, True, False, False], [True, True, False, False]]


@pytest.mark.parametrize("block", [None, 8])
def test_dilated_is_the_van_der_corput_order_of_each_block(mdm, block) -> None:
    options = dict(length=16, order="dilated", quota="even", steps=16, block=block)
    (g,) = generate(mdm, [[1]], **options)
    places = [event["position"] - 1 for event in g.trace]
    if block is None:
        assert places == [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15]
    else:
        assert places == [0, 4, 2, 6, 1, 5, 3, 7] + [8, 12, 10, 14, 9, 13, 11, 15]


def test_scores_are_in_nats_and_at_most_nothing() -> None:
    value = torch.tensor([0.5, 0.0], dtype=torch.float64)
    answers = Answers(torch.ones(1, 2, dtype=torch.bool), {"probability": value[None], "entropy": value[None]})
    assert ORDERS["confidence"]().score(answers)[0, 0] == pytest.approx(-0.693147, abs=1e-6)
    assert ORDERS["entropy"]().score(answers).tolist() == [[-0.5, 0.0]]
    assert ORDERS["high-entropy"]().score(answers).tolist() == [[0.5, 0.0]]


def test_top_probability_does_not_look_at_the_token_drawn(mdm) -> None:
    options = dict(length=12, quota="even", steps=12)
    runs = [
        generate(mdm, [[1]], order=order, temperature=temperature, **options)[0]
        for order in ("top-probability", "confidence")
        for temperature in (0, 3)
    ]
    first = [run.trace[0]["position"] for run in runs]
    assert first[0] == first[1] == first[2], "of an empty canvas the likeliest, also where another token is drawn"
    assert runs[0].tokens == runs[2].tokens, "at temperature 0 it is the order by confidence"
