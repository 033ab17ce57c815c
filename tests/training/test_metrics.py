"""The parts of a metrics line."""

from __future__ import annotations

import math

import torch

from unmask.training.metrics import LEVEL_BUCKETS, add_by_level, clock, level_means


def test_losses_are_gathered_by_the_share_of_masks() -> None:
    total, count = [0.0] * LEVEL_BUCKETS, [0] * LEVEL_BUCKETS
    level_B = torch.tensor([0.0, 0.05, 0.31, 0.39, 0.999, 1.0, 0.7])
    ce_B = torch.tensor([1.0, 3.0, 2.0, 4.0, 5.0, 7.0, math.nan])  # nan: a sequence without a mask
    add_by_level(total, count, level_B, ce_B)
    assert count == [2, 0, 0, 2, 0, 0, 0, 0, 0, 2]
    assert level_means(total, count) == [2.0, None, None, 3.0, None, None, None, None, None, 6.0]


def test_time_left() -> None:
    assert [clock(s) for s in (-1, 5, 65.4, 3723)] == ["0:00", "0:05", "1:05", "1:02:03"]
