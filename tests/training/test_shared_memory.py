"""Sums through shared memory: real processes, several pieces, the same bits on every rank."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unmask.training.shared_memory import MEMORY, memory_place

CODE = """
import sys, torch, torch.distributed as dist
from unmask.training.shared_memory import SharedSum
rank, size, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
total = SharedSum(rank, size, dist.group.WORLD, piece=7)
for count in (1, 7, 20, 3, 64):
    tensors = [torch.randn(count, generator=torch.Generator().manual_seed(10 * count + r)) for r in range(size)]
    wanted = tensors[0].clone()
    for other in tensors[1:]:
        wanted += other
    mine = tensors[rank].clone()
    total.add(mine)
    assert torch.equal(mine, wanted), (rank, count)
dist.destroy_process_group()
"""


@pytest.mark.skipif(memory_place() is None, reason="needs /dev/shm")
@pytest.mark.parametrize("size", [2, 3])
def test_every_rank_gets_the_sum_in_the_order_of_ranks(tmp_path: Path, size: int) -> None:
    before = set(MEMORY.glob("unmask-*"))
    ranks = [
        subprocess.Popen([sys.executable, "-c", CODE, str(rank), str(size), str(tmp_path / "store")])
        for rank in range(size)
    ]
    assert [rank.wait(timeout=60) for rank in ranks] == [0] * size
    assert set(MEMORY.glob("unmask-*")) <= before, "the file stays behind"
