"""Quotas and orders against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding.canvas import Canvas
from unmask.decoding.orders import ORDERS, QUOTAS, Clock, top


def counts(new: int, steps: int, quota: str, block: int | None = None) -> list[tuple[int, int]]:
    """(global step, tokens committed) of a single row, left to right."""
    canvas = Canvas.of([[]], new, mask_id=9)
    keys_BL = torch.zeros(canvas.tokens_BL.shape, dtype=torch.float64)
    clock = Clock(canvas, keys_BL, QUOTAS[quota], torch.tensor([steps]), block)
    found = []
    while (turn := clock.next()) is not None:
        chosen = top(ORDERS["left-to-right"].blind(turn), turn)
        canvas.open_BL[turn.rows_R] &= ~chosen
        found.append((int(turn.global_step_R[0]), int(chosen.sum())))
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
    canvas = Canvas.of([[], []], 4, mask_id=9)
    clock = Clock(canvas, torch.zeros(2, 4, dtype=torch.float64), QUOTAS["even"], torch.tensor([2, 2]), None)
    turn = clock.next()
    priority = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.1, 0.3, 0.1, 0.1]])
    assert top(priority, turn).tolist() == [[True, True, False, False], [True, True, False, False]]


def test_judges() -> None:
    logp = torch.tensor([[0.5, 0.5, 0.0], [0.6, 0.2, 0.2], [0.34, 0.33, 0.33]]).log()
    tokens = torch.tensor([1, 1, 0])
    judged = {name: order.judge(logp, tokens) for name, order in ORDERS.items() if order.judge}
    assert judged["confidence"].tolist() == pytest.approx([0.5, 0.2, 0.34])
    assert judged["margin"].tolist() == pytest.approx([0.0, 0.4, 0.01], abs=1e-6)
    assert judged["entropy"].tolist() == pytest.approx([-0.693147, -0.950271, -1.098513], abs=1e-5)
