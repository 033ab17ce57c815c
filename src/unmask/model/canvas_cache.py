"""Keys and values of a bidirectional model, kept from pass to pass while only a part of each row is run again.

    cache = network.cache(8, 256)
    network.hidden(tokens_BT, positions_BT=positions_BT, cache=cache.at(rows_R))      # writes its slots, sees them all

What another position looked like when it was last run is an approximation (arXiv 2505.22618), but for causal models:
for those see `KVCache`. The slot behind the last takes what padding queries write; no query reads it.

Shapes: B batch, R rows of it, T tokens run, S slots, H key heads, D head dimension.
"""

from __future__ import annotations

import torch

from unmask.model.config import ModelConfig


class CanvasCache:
    """Preallocated slots [layers, B, H, S + 1, D] for keys and for values."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.n_layer, batch, config.n_kv_head, length + 1, config.head_dim)
        self.length = length
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)

    def at(
        self, rows_R: torch.Tensor, positions_BT: torch.Tensor | None = None, here_R: torch.Tensor | None = None
    ) -> CanvasRows:
        """The slots of some rows, for one pass. positions_BT and here_R: where it writes, and the rows again, on the
        host, so that nothing is looked at on the device."""
        return CanvasRows(self, rows_R, positions_BT, rows_R if here_R is None else here_R)


class CanvasRows:
    """Some rows of a `CanvasCache`; what `Transformer.hidden` takes."""

    def __init__(
        self, cache: CanvasCache, rows_R: torch.Tensor, positions_BT: torch.Tensor | None, here_R: torch.Tensor
    ) -> None:
        self.cache, self.rows_R, self.positions_BT, self.seen = cache, rows_R, positions_BT, cache.length
        count = cache.keys.shape[1]
        self.every = len(here_R) == count and bool((here_R == torch.arange(count, device=here_R.device)).all())
        self.span: slice | None = None

    def begin(self, positions_BT: torch.Tensor) -> None:
        """Notes where this pass writes: one stretch shared by all rows is copied, anything else scattered."""
        positions_BT = positions_BT if self.positions_BT is None else self.positions_BT
        first, width = int(positions_BT[0, 0]), positions_BT.shape[1]
        stretch_T = torch.arange(first, first + width, device=positions_BT.device)
        self.span = slice(first, first + width) if bool((positions_BT == stretch_T).all()) else None

    def write(
        self, layer: int, positions_BT: torch.Tensor, k_BHTD: torch.Tensor, v_BHTD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores new keys and values at their positions; returns all [R, H, S, D] of these rows."""
        return tuple(
            self._write(all_slots[layer], positions_BT, new)  # type: ignore[return-value]
            for all_slots, new in ((self.cache.keys, k_BHTD), (self.cache.values, v_BHTD))
        )

    def _write(self, slots_BHSD: torch.Tensor, positions_BT: torch.Tensor, new_RHTD: torch.Tensor) -> torch.Tensor:
        if self.span is None:
            slots_BHSD[self.rows_R[:, None], :, positions_BT] = new_RHTD.transpose(1, 2)
        elif self.every:
            slots_BHSD[:, :, self.span] = new_RHTD
        else:
            slots_BHSD[self.rows_R, :, self.span] = new_RHTD
        return (slots_BHSD if self.every else slots_BHSD[self.rows_R])[:, :, : self.seen]
