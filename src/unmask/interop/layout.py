"""Tensors of a published model put together to ours, and ours taken apart again: one walk over a list of names.

    state = stacked(layout(config), names, read, "model.safetensors", "is n_layer right?")
    tensors = apart(layout(config), network.state_dict())

A format says how it lays out a model in one generator; ours keep [q; k; v] and [gate; up] each in one matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from unmask.errors import UserError

# Our name, and what of theirs its rows are, one behind the other: (name, rows, columns).
Layout = Iterator[tuple[str, list[tuple[Any, ...]]]]


def stacked(
    layout: Layout, names: Iterable[str], read: Callable[[str], torch.Tensor], where: str, mend: str
) -> dict[str, torch.Tensor]:
    """Our tensors in fp32, every one of theirs checked and read exactly once.

    Raises `UserError`, which names the place, for tensors that are missing, misshapen or (with the mend) unknown.
    """
    left = set(names)

    def take(name: str, *shape: int) -> torch.Tensor:
        if name not in left:
            raise UserError(f"{where} lacks the tensor {name}; is the config another model's?")
        left.remove(name)
        tensor = read(name).float()
        if tuple(tensor.shape) != shape:
            raise UserError(f"{where}: tensor {name} has shape {list(tensor.shape)}, the config implies {list(shape)}")
        return tensor

    state = {}
    for ours, theirs in layout:
        parts = [take(*part) for part in theirs]
        state[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    if left:
        raise UserError(f"{where} has the unknown tensor {min(left)}; {mend}")
    return state


def apart(layout: Layout, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Theirs from ours."""
    tensors: dict[str, torch.Tensor] = {}
    for ours, theirs in layout:
        parts = state[ours].split([rows for _, rows, *_ in theirs])
        tensors |= {name: part.contiguous() for (name, *_), part in zip(theirs, parts, strict=True)}
    return tensors
