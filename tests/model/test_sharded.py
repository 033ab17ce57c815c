"""Whether a tensor is sharded is known without what shards it; what is placed like another lies as that does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from unmask.model.sharded import is_sharded, sharded_like


@pytest.fixture
def one_rank() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_sharded_tensor_is_told_and_others_are_placed_as_it_is(one_rank: None) -> None:
    whole = torch.arange(6.0).reshape(3, 2)
    there = distribute_tensor(whole, init_device_mesh("cpu", (1,)), [Shard(0)])
    assert is_sharded(there) and not is_sharded(whole)
    placed = sharded_like(whole + 1, there)
    assert isinstance(placed, DTensor) and placed.placements == there.placements
    assert torch.equal(placed.full_tensor(), whole + 1)


def test_asking_imports_nothing() -> None:
    code = "import sys, torch, unmask.model.lora as lora; assert not lora.is_sharded(torch.zeros(1)); "
    code += "assert 'torch.distributed.tensor' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
