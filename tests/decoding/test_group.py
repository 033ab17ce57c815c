"""Rows with the same rules take their turns together."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding.group import missing


@pytest.mark.parametrize(
    ("taken", "least", "first"),
    [
        ([False, True, False, False], 1, 0),
        ([False, True, False, False], 2, 1),
        ([False, True, False, False], 3, 3),
        ([False, False, False, False], 1, 1),
        ([True, True, False, False], 3, 3),
    ],
)
def test_a_row_that_falls_behind_takes_the_best_besides(taken: list[bool], least: int, first: int) -> None:
    assert int(missing(torch.tensor([least]), torch.tensor([taken]))) == first
