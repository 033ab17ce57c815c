"""What goes between host and device in a pass: several tensors in one copy each way.

    parcel = Parcel()
    at = parcel.put(tokens_UL, row_N); parcel.put(*draws.needed.values(), to=draws.take)   # by whoever needs them there
    parcel.send(device)                                                                    # all of it, before the pass
    tokens_UL, row_N = parcel[at]
    tokens_N, probability_N = to_host([tokens_N, probability_N])

A copy costs some microseconds and the way back a wait for all that was asked of the device, whatever is copied. On the
CPU nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


class Parcel:
    """What a pass needs on the device: put in piece by piece, sent once, taken out there."""

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
        self.takers: list[tuple[Callable[[list[torch.Tensor]], None], slice]] = []

    def put(self, *tensors: torch.Tensor, to: Callable[[list[torch.Tensor]], None] | None = None) -> slice:
        """Where they lie, which is what `parcel[...]` takes. to: is handed them there."""
        start = len(self.tensors)
        self.tensors += tensors
        at = slice(start, len(self.tensors))
        if to is not None:
            self.takers.append((to, at))
        return at

    def send(self, device: torch.device) -> None:
        self.tensors = to_device(self.tensors, device)
        for take, at in self.takers:
            take(self.tensors[at])

    def __getitem__(self, at: slice) -> list[torch.Tensor]:
        return self.tensors[at]


def to_device(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Tensors of the host, of any types and shapes, on the device."""
    if device.type == "cpu" or not tensors:
        return list(tensors)
    return unpacked(packed(tensors).to(device), tensors)


def to_host(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The way back."""
    if not tensors or tensors[0].device.type == "cpu":
        return list(tensors)
    return unpacked(packed(tensors).cpu(), tensors)


def by_size(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Wide types first, so that each lies where its type may."""
    return sorted(range(len(tensors)), key=lambda at: -tensors[at].element_size())


def packed(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Their bytes."""
    # A tensor of one number may be contiguous with any stride, and is seen as bytes with a stride of 1 alone.
    flat = (tensors[at].contiguous().as_strided((tensors[at].numel(),), (1,)) for at in by_size(tensors))
    return torch.cat([tensor_N.view(torch.uint8) for tensor_N in flat])


def unpacked(bytes_N: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    order = by_size(like)
    pieces = bytes_N.split([like[at].numel() * like[at].element_size() for at in order])
    found = {at: piece.view(like[at].dtype).view(like[at].shape) for at, piece in zip(order, pieces, strict=True)}
    return [found[at] for at in range(len(like))]
