"""The parts of a metrics line."""

from __future__ import annotations

import math
import subprocess
import sys

import torch

from unmask.training.metrics import LEVEL_BUCKETS, add_by_level, clock, level_means, peak_memory


def test_losses_are_gathered_by_the_share_of_masks() -> None:
    total, count = [0.0] * LEVEL_BUCKETS, [0] * LEVEL_BUCKETS
    level_B = torch.tensor([0.0, 0.05, 0.31, 0.39, 0.999, 1.0, 0.7])
    ce_B = torch.tensor([1.0, 3.0, 2.0, 4.0, 5.0, 7.0, math.nan])  # nan: a sequence without a mask
    add_by_level(total, count, level_B, ce_B)
    assert count == [2, 0, 0, 2, 0, 0, 0, 0, 0, 2]
    assert level_means(total, count) == [2.0, None, None, 3.0, None, None, None, None, None, 6.0]


def test_time_left() -> None:
    assert [clock(s) for s in (-1, 5, 65.4, 3723)] == ["0:00", "0:05", "1:05", "1:02:03"]


def test_peak_memory_is_the_process_s_own_and_not_that_of_its_parent() -> None:
    ballast = torch.ones(100 << 20)  # 400 MiB here
    code = "import torch; from unmask.training.metrics import peak_memory; print(peak_memory(torch.device('cpu')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    own = peak_memory(torch.device("cpu"))
    assert own > ballast.nbytes and int(found.stdout) < own - ballast.nbytes / 2
