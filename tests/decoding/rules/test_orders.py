"""Quotas and orders against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from decoding.oracle import Chain, oracle
from unmask.decoding import generate
from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.loop import Loop
from unmask.decoding.options import read_requests
from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.rules.orders import ORDERS, top
from unmask.decoding.state.canvas import Canvas


def counts(new: int, steps: int, quota: str, block: int | None = None) -> list[tuple[int, int]]:
    """(global step, tokens committed) of a single row, left to right."""
    canvas = Canvas.of([[]], [new], mask_id=9)
    requests = read_requests(1, "mdm", order="left-to-right", quota=quota, steps=steps, block=block)
    loop = Loop(oracle(Chain.of_offsets(9, [1.0]), context=new).network, Limits(canvas, 9), Endings(canvas, ()))
    loop.join(canvas.rows, requests, [Guidance()])
    (group,) = loop.groups.values()
    found = []
    while (plan := group.next()) is not None:
        nothing = torch.zeros_like(canvas.tokens_BL)
        group.settle(plan, Answers(plan.asked_RL, {"tokens": nothing, "probability": nothing.double()}))
        found.append((int(plan.turn.global_step_R[0]), int(plan.chosen_RL.sum())))
    return found


def test_even_quota() -> None:
    assert counts(10, 4, "even") == [(0, 3), (1, 3), (2, 2), (3, 2)]
    assert counts(3, 8, "even") == [(0, 1), (1, 1), (2, 1)]  # idle steps cost no pass


@pytest.mark.parametrize(("new", "steps"), [(32, 16), (40, 3), (2048, 16), (5000, 128)])
def test_paper_quota(new: int, steps: int) -> None:
    """int(n (1 - s/t)) of the masks left, truncated: late; the last step commits the rest."""
    n, expected = new, []
    t = torch.linspace(1, 1e-5, steps + 1)
    for i in range(steps):
        k = n if i == steps - 1 else int(n * (1 - t[i + 1] / t[i]))
        expected += [(i, k)] if k else []
        n -= k
    assert counts(new, steps, "paper") == expected
    if (new, steps) == (32, 16):
        assert expected[0] == (0, 1)  # 32/16 = 2, less rounding


def test_blocks_divide_the_steps() -> None:
    # Ten positions in blocks of 4, 4, 2; seven steps as 3, 2, 2.
    assert counts(10, 7, "even", block=4) == [(0, 2), (1, 1), (2, 1), (3, 2), (4, 2), (5, 1), (6, 1)]


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
