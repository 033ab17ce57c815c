"""What a pass said: by row and position, by group, by rank."""

from __future__ import annotations

import torch

from unmask.decoding.rules.answers import Answers, Ranked

ASKED = torch.tensor([[True, False, True], [False, False, True], [False, False, False]])


def test_values_stand_where_they_were_asked_for() -> None:
    answers = Answers.of(ASKED, {"tokens": torch.tensor([4, 5, 6]), "best": torch.tensor([0.1, 0.2, 0.3])})
    assert answers["tokens"].tolist() == [[4, 0, 5], [0, 0, 6], [0, 0, 0]]
    first, second = answers.split([1, 2])
    assert first["tokens"].tolist() == [[4, 0, 5]] and second["tokens"].tolist() == [[0, 0, 6], [0, 0, 0]]
    assert second.asked_RL.tolist() == ASKED[1:].tolist()
    assert answers.split([3])[0] is answers


def test_ranks() -> None:
    answers = Answers.of(ASKED[:1], {"best": torch.tensor([0.1, 0.2])})
    ranked = Ranked(answers, torch.tensor([[2, 0, 1]]), ASKED[:1])
    assert ranked.open_RK.tolist() == [[True, True, False]]
    torch.testing.assert_close(ranked["best"], torch.tensor([[0.2, 0.1, 0.0]]))
