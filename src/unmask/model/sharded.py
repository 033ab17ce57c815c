"""Tensors of which each rank holds a part, for code that mostly meets whole ones.

    if is_sharded(weight):
        change = sharded_like(change, weight)

What shards them (`torch.distributed.tensor`) takes half a second to import, so it is looked up and not imported: where
nobody has, no tensor is sharded.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

import torch

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: torch.Tensor) -> TypeGuard[DTensor]:
    library = sys.modules.get("torch.distributed.tensor")
    return library is not None and isinstance(tensor, library.DTensor)


def sharded_like(tensor: torch.Tensor, like: DTensor) -> torch.Tensor:
    """A whole tensor, the same on every rank, placed as `like` is: each takes its part and none is sent."""
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
