"""Keys and values of a causal model, kept in memory allocated once.

    cache = KVCache(config, batch=8, length=512)
    network.hidden(prompt_BT, positions_BT=positions_BT, cache=cache)    # fills slots; then one token at a time

A row's token at position p lies in slot p, so rows of different lengths share one cache: padding behind a short
prompt is overwritten before any query may look at it.

Shapes: B batch, T new tokens, S slots, H key heads, D head dimension.
"""

from __future__ import annotations

import torch

from unmask.errors import UserError
from unmask.model.config import ModelConfig


class KVCache:
    """Preallocated slots [layers, B, H, S, D] for keys and for values."""

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
        shape = (config.n_layer, batch, config.n_kv_head, length, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self._rows = torch.arange(batch, device=device)[:, None]

    def write(
        self, layer: int, positions_BT: torch.Tensor, k_BHTD: torch.Tensor, v_BHTD: torch.Tensor, slots: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores new keys and values at their positions; returns views of the first `slots` slots."""
        self.keys[layer][self._rows, :, positions_BT] = k_BHTD.transpose(1, 2)
        self.values[layer][self._rows, :, positions_BT] = v_BHTD.transpose(1, 2)
        return self.keys[layer, :, :, :slots], self.values[layer, :, :, :slots]

    def keep(self, rows: torch.Tensor) -> None:
        """Only `rows` (indices) from now on, in that order: drops those that have ended, repeats those that branch."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self._rows = torch.arange(len(rows), device=self._rows.device)[:, None]
