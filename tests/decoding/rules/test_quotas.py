"""Quotas on numbers worked out by hand, among them the slips of published code."""

from __future__ import annotations

import pytest
import torch

from decoding.schedules import counts
from unmask.decoding import generate
from unmask.decoding.rules.answers import Answers, Ranked
from unmask.decoding.rules.quotas import QUOTAS
from unmask.decoding.rules.registry import choose
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.turn import Turn


def a_turn(rows: int, length: int) -> Turn:
    canvas = Canvas.of([[]] * rows, [length] * rows, mask_id=9)
    clock = Clock(canvas)
    clock.join(canvas.rows, torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, dtype=torch.int64))
    return clock.turn(canvas.rows)


def admitted(
    spec: str, confidence: list[list[float]], entropy=None, drift=None, opened=None, turn: Turn | None = None
) -> list[list[bool]]:
    quota = choose("quota", QUOTAS, spec)
    given = {"best": confidence, "entropy": entropy, "drift": drift}
    columns = {name: torch.tensor(x, dtype=torch.float64) for name, x in given.items() if x is not None}
    rank_RK = torch.arange(len(confidence[0])).expand(len(confidence), -1)
    open_RL = torch.ones_like(rank_RK, dtype=torch.bool) if opened is None else torch.tensor(opened)
    ranked = Ranked(Answers(open_RL, columns), rank_RK, open_RL)
    return (quota.of.admit(turn or a_turn(*rank_RK.shape), ranked) & ranked.open_RK).tolist()


def test_threshold() -> None:
    assert admitted("threshold:0.9", [[0.95, 0.9, 0.2], [0.5, 0.4, 0.3]]) == [[True, False, False], [False] * 3]


def test_factor_commits_two_not_three() -> None:
    """Published slip: (k + 1) counted one too few and the third, at 0.2, went along."""
    assert admitted("factor:1", [[0.99, 0.98, 0.2]]) == [[True, True, False]]
    # The largest k: 2 (1 - 0.4) fails at k = 1, and so does all behind it, although later ones alone would pass.
    assert admitted("factor:1", [[0.4, 0.99, 0.99]]) == [[False] * 3]
    assert admitted("factor:3", [[0.7, 0.6, 0.5]]) == [[True, True, True]]


def test_entropy_bound_leaves_out_the_largest() -> None:
    """Published slip: without "- max H" the first alone could exceed the bound."""
    assert admitted("entropy-bounded:0.1", [[0.5] * 3], [[0.05, 0.06, 0.7]]) == [[True, True, False]]
    assert admitted("entropy-bounded:0.1", [[0.5] * 3], [[0.7, 0.8, 0.9]]) == [[True, False, False]]
    # 0.05 + 0.05 + 0.7 - 0.7 = 0.1
    assert admitted("entropy-bounded:0.101", [[0.5] * 3], [[0.05, 0.05, 0.7]]) == [[True, True, True]]


def test_the_largest_is_of_its_own_row() -> None:
    """Published slip: a cumulative maximum over the batch let one row's entropy pay for another's."""
    alone = admitted("entropy-bounded:0.1", [[0.5] * 3], [[0.06, 0.06, 0.06]])
    beside = admitted("entropy-bounded:0.1", [[0.5] * 3] * 2, [[2.0, 2.0, 2.0], [0.06, 0.06, 0.06]])
    assert beside == [[True, False, False], *alone] and alone == [[True, True, False]]


def test_positions_that_are_not_open_cost_nothing() -> None:
    opened = [[True, True, False]]
    assert admitted("entropy-bounded:0.1", [[0.5] * 3], [[0.05, 0.05, 9.0]], opened=opened) == [[True, True, False]]
    assert admitted("factor:1", [[0.99, 0.98, 1.0]], opened=opened) == [[True, True, False]]


def test_klass_wants_sure_and_still() -> None:
    turn, sure = a_turn(1, 3), [[0.95, 0.95, 0.5]]
    passes = [[0.001, 1.0, 0.0], [0.002, 0.003, 0.0], [0.5, 0.003, 0.0], [0.0, 0.5, 0.0]]
    found = [admitted("klass", sure, drift=[drift], turn=turn)[0] for drift in passes]
    assert found == [[False] * 3, [True, False, False], [False, True, False], [False] * 3]


def test_steps_bound_the_passes_of_adaptive_quotas(mdm) -> None:
    for quota in ("threshold:1", "factor:0.01", "entropy-bounded:0", "klass:threshold=1"):
        for order in ("confidence", "left-to-right", "random"):
            free, bounded = (
                generate(mdm, [[1]], length=20, order=order, quota=quota, steps=steps)[0] for steps in (None, 6)
            )
            assert free.nfe == 20, (quota, order)
            assert bounded.nfe <= 6


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
