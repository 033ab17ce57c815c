"""Keys and values of a causal model, kept in memory allocated once.

    cache = network.cache(8, 512)
    network.hidden(prompt_BT, positions_BT=positions_BT, cache=cache)    # fills slots; then one token at a time,
    DecodeStep(network, cache)(tokens_B, positions_B)                    # here or with `hidden` again
    cache.move({0: 3}, used=20); cache.first(3)                          # a row takes another's place; only three now

A row's token at position p lies in slot p, so rows of different lengths share one cache: padding behind a short
prompt is overwritten before any query may look at it.

Shapes: B batch, R rows of it, T new tokens, S slots, H key heads, D head dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch

from unmask.errors import UserError
from unmask.model.config import ModelConfig


def cached_bytes(config: ModelConfig, dtype: torch.dtype, length: int) -> int:
    """Of the keys and values of one row of so many slots."""
    return 2 * config.n_layer * config.n_kv_head * config.head_dim * length * dtype.itemsize


class KVCache:
    """Preallocated slots [layers, 2, B, H, S, D]: keys and values of the first rows of `room`."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if length > config.block_size:
            raise UserError(f"{length} tokens exceed the context of {config.block_size}; shorten prompt or length")
        shape = (config.n_layer, 2, batch, config.n_kv_head, length, config.head_dim)
        # Memory is touched where it is written: a long cache costs a short text nothing. Slots that no query may look
        # at still enter attention with weight 0, so they must hold numbers.
        self.room = torch.zeros(shape, device=device, dtype=dtype)
        self._set(self.room)
        self.seen = 0

    def begin(self, positions_BT: torch.Tensor) -> None:
        """Notes how many slots this pass looks at: up to its last position."""
        self.seen = int(positions_BT.max()) + 1

    def write(
        self, layer: int, positions_BT: torch.Tensor, k_BHTD: torch.Tensor, v_BHTD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores new keys and values at their positions; returns views of the slots that this pass looks at."""
        keys, values = self.slots[layer]
        keys[self._rows, :, positions_BT] = k_BHTD.transpose(1, 2)
        values[self._rows, :, positions_BT] = v_BHTD.transpose(1, 2)
        return keys[:, :, : self.seen], values[:, :, : self.seen]

    def keep(self, rows: torch.Tensor) -> None:
        """Only `rows` (indices) from now on, in that order, by a copy: repeats those that branch."""
        self._set(self.slots[:, :, rows])

    def first(self, rows: int) -> None:
        """Only so many of its rows from now on; the others stay in `room`."""
        self._set(self.room[:, :, :rows])

    def part(self, start: int, stop: int) -> KVCache:
        """Some of all its rows as a cache of their own, for a pass."""
        part = copy.copy(self)
        part._set(self.room[:, :, start:stop])
        return part

    def move(self, source_of: Mapping[int, int], used: int) -> None:
        """Rows (of all) take what others hold, all at once: {to: from}; `used` slots of them hold something."""
        waiting = {to: source for to, source in source_of.items() if to != source}
        held: dict[int, torch.Tensor] = {}
        while waiting:
            needed = {source for source in waiting.values() if source not in held}
            to = next((to for to in waiting if to not in needed), None)
            if to is None:  # they turn in circles
                to = next(iter(waiting))
                held[to] = self.room[:, :, to, :, :used].clone()
            source = waiting.pop(to)
            self.room[:, :, to, :, :used] = held.pop(source, self.room[:, :, source, :, :used])

    def _set(self, slots: torch.Tensor) -> None:
        self.slots = slots
        self._rows = torch.arange(slots.shape[2], device=slots.device)[:, None]
