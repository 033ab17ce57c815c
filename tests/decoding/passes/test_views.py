"""What a pass looks at, by hand."""

from __future__ import annotations

import torch

from unmask.decoding.passes.views import views_of, widen
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.state.canvas import Canvas

MASK = 9


def views(*guidances: Guidance, guided: list[int]):
    canvas = Canvas.of([[1, 2], [3]], [2, 2], mask_id=MASK)
    asked_RL, block_R = canvas.open_BL.clone(), torch.tensor([0, 4])
    asked_RL[0, 2] = False
    return views_of(canvas, list(guidances), torch.arange(2), asked_RL, canvas.new_BL, block_R, guided)


def test_rows_without_guidance_are_seen_once() -> None:
    found = views(Guidance(), Guidance(), guided=[])
    assert found.row_U.tolist() == [0, 1] and found.kind_U.tolist() == [0, 0]
    assert found.tokens_UL.tolist() == [[1, 2, MASK, MASK], [3, MASK, MASK, MASK]]
    assert found.lengths_U.tolist() == [4, 3] and found.block_U.tolist() == [0, 4]


def test_a_prompt_is_hidden_where_it_stands() -> None:
    found = views(Guidance(0.5), Guidance(0.5), guided=[1])
    assert found.row_U.tolist() == [0, 1, 1] and found.kind_U.tolist() == [0, 0, 1]
    assert found.tokens_UL[2].tolist() == [MASK] * 4 and found.lengths_U[2] == 3
    assert torch.equal(found.asked_UL[2], found.asked_UL[1]) and found.block_U[2] == 4


def test_without_a_prompt_or_behind_another_positions_move() -> None:
    found = views(Guidance(1.0, mode="drop"), Guidance(1.0, negative=(5, 6, 7)), guided=[0, 1])
    assert found.tokens_UL[2, :2].tolist() == [MASK, MASK] and found.tokens_UL[3].tolist() == [5, 6, 7, MASK, MASK]
    assert found.lengths_U.tolist() == [4, 3, 2, 5]
    places = [row.nonzero().flatten().tolist() for row in found.asked_UL]
    assert places == [[3], [1, 2], [1], [3, 4]]
    assert [row.nonzero().flatten().tolist() for row in found.block_UL] == [[2, 3], [1, 2], [0, 1], [3, 4]]


def test_widened() -> None:
    assert widen(torch.tensor([[1]]), 3, MASK).tolist() == [[1, MASK, MASK]]
    assert widen(torch.tensor([[1, 2]]), 1, MASK).tolist() == [[1, 2]]
