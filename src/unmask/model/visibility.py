"""What a token may attend to: an argument of a pass, put together of parts, and no property of the weights.

    network.hidden(tokens_BT, sees=network.sees & keys(inside_BT))                # what it was trained with, no padding
    network.hidden(tokens_BT, sees=causal & segments(numbers_BT))                 # several texts in a row
    network.hidden(tokens_BT, sees=block_causal(32))                              # blocks left to right

A part says for every query and key whether the one sees the other; `a & b` is what both allow. Queries and keys are
told by their places in the row (0..T-1, or the slots of a cache), whatever positions their rotary embedding has.
Block-causal attention is that of block diffusion (BD3-LM, arXiv 2503.09573): all of a block, and all blocks before it.

Shapes: B batch, T queries, S keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Where:
    """The queries and keys of one pass."""

    length: int  # T
    slots: int  # S
    device: torch.device
    # Slots at which queries stand that see a cache (S: a query that nobody reads); None: 0..T-1, as the keys.
    places_BT: torch.Tensor | None = None

    @property
    def queries(self) -> torch.Tensor:
        """[1 or B, T]."""
        return torch.arange(self.length, device=self.device)[None] if self.places_BT is None else self.places_BT

    @property
    def keys_S(self) -> torch.Tensor:
        return torch.arange(self.slots, device=self.device)


class Sees(ABC):
    """Who sees whom."""

    @abstractmethod
    def allowed(self, where: Where) -> torch.Tensor | None:
        """bool, broadcastable to [B, 1, T, S]; None: everything."""

    def for_attention(self, where: Where) -> tuple[torch.Tensor | None, bool]:
        """What `attend` takes: a mask, or whether query t sees keys up to t alone, for which there is a kernel."""
        return self.allowed(where), False

    def __and__(self, other: Sees) -> Sees:
        return self if isinstance(other, Everything) else Both(self, other)


@dataclass(frozen=True)
class Everything(Sees):
    def allowed(self, where: Where) -> torch.Tensor | None:
        return None

    def __and__(self, other: Sees) -> Sees:
        return other


@dataclass(frozen=True)
class Causal(Sees):
    def allowed(self, where: Where) -> torch.Tensor:
        return (where.keys_S <= where.queries[:, :, None])[:, None]

    def for_attention(self, where: Where) -> tuple[torch.Tensor | None, bool]:
        return (None, True) if where.places_BT is None else (self.allowed(where), False)


@dataclass(frozen=True)
class BlockCausal(Sees):
    size: int

    def allowed(self, where: Where) -> torch.Tensor:
        return (where.keys_S // self.size <= where.queries[:, :, None] // self.size)[:, None]


@dataclass(frozen=True, eq=False)
class Keys(Sees):
    inside_BS: torch.Tensor

    def allowed(self, where: Where) -> torch.Tensor:
        return self.inside_BS[:, None, None, :]


@dataclass(frozen=True, eq=False)
class Segments(Sees):
    numbers_BS: torch.Tensor

    def allowed(self, where: Where) -> torch.Tensor:
        numbers_BT = self.numbers_BS
        if where.places_BT is not None:
            numbers_BT = numbers_BT.gather(1, where.places_BT.clamp(max=where.slots - 1))
        return numbers_BT[:, None, :, None] == self.numbers_BS[:, None, None, :]


@dataclass(frozen=True, eq=False)
class Pairs(Sees):
    allowed_TS: torch.Tensor

    def allowed(self, where: Where) -> torch.Tensor:
        return self.allowed_TS.reshape(-1, 1, *self.allowed_TS.shape[-2:])


@dataclass(frozen=True, eq=False)
class Both(Sees):
    first: Sees
    second: Sees

    def allowed(self, where: Where) -> torch.Tensor | None:
        first, second = self.first.allowed(where), self.second.allowed(where)
        if first is None or second is None:
            return second if first is None else first
        return first & second


everything: Sees = Everything()
causal: Sees = Causal()  # keys up to the query's own place


def block_causal(size: int) -> Sees:
    """All keys of the query's block of `size` places, counted from the row's beginning, and of the blocks before it."""
    return BlockCausal(size)


def keys(inside_BS: torch.Tensor) -> Sees:
    """The keys marked: False for padding. bool [B, S]."""
    return Keys(inside_BS)


def segments(numbers_BS: torch.Tensor) -> Sees:
    """Keys of the query's own number alone: of examples that share a row. int [B, S]."""
    return Segments(numbers_BS)


def restarting_positions(numbers_BT: torch.Tensor) -> torch.Tensor:
    """int64 [B, T]: each token's place in its own stretch of equal numbers, for examples that share a row."""
    places_T = torch.arange(numbers_BT.shape[1], device=numbers_BT.device)
    begins_BT = F.pad(numbers_BT[:, 1:] != numbers_BT[:, :-1], (1, 0))
    return places_T - (places_T * begins_BT).cummax(dim=1).values


def pairs(allowed_TS: torch.Tensor) -> Sees:
    """As a table says, bool [T, S] or [B, T, S]: True where the query sees the key."""
    return Pairs(allowed_TS)
