"""Keys and values of a causal model, kept in memory allocated once.

    cache = network.cache(8, 512)
    network.hidden(prompt_BT, positions_BT=positions_BT, cache=cache)    # fills slots; then one token at a time,
    DecodeStep(network, cache)(tokens_B, positions_B)                    # here or with `hidden` again

A row's token at position p lies in slot p, so rows of different lengths share one cache: padding behind a short
prompt is overwritten before any query may look at it.

Shapes: B batch, R rows of it, T new tokens, S slots, H key heads, D head dimension.
"""

from __future__ import annotations

import torch

from unmask.errors import UserError
from unmask.model.config import ModelConfig


class KVCache:
    """Preallocated slots [layers, 2, B, H, S, D]: keys and values."""

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
        self.slots = torch.zeros(shape, device=device, dtype=dtype)
        self._rows = torch.arange(batch, device=device)[:, None]
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

    def drop(self, running_B: torch.Tensor, used: int) -> torch.Tensor:
        """Only the rows marked (bool) from now on, of whose slots `used` hold something; returns their old indices in
        the new order.

        The last ones move into the places of those that leave: what stays where it is is not copied.
        """
        count = int(running_B.sum())
        order_R = torch.arange(count, device=running_B.device)
        gaps = (~running_B[:count]).nonzero().flatten()
        order_R[gaps] = count + running_B[count:].nonzero().flatten()
        for gap, mover in zip(gaps.tolist(), order_R[gaps].tolist(), strict=True):
            self.slots[:, :, gap, :, :used] = self.slots[:, :, mover, :, :used]
        self._set(self.slots[:, :, :count])
        return order_R

    def _set(self, slots: torch.Tensor) -> None:
        self.slots = slots
        self._rows = torch.arange(slots.shape[2], device=slots.device)[:, None]
