"""The autoregressive twin: the same canvas, filled left to right from a causal model with a preallocated KV cache.

    fill(network, canvas, temperature=1.0, stop_id=eos_id)

Prompts of different lengths share the cache: a row's token at position p lies in slot p. A row that has written its
end of sequence leaves the batch, cache and all, so that the rest goes on at its own price.

Shapes: B rows, R rows still running, T prompt tokens, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from unmask.decoding.canvas import Canvas
from unmask.decoding.propose import Draws, propose
from unmask.diffusion.noise import uniforms
from unmask.model.cache import KVCache
from unmask.model.transformer import Transformer


@torch.inference_mode()
def fill(
    network: Transformer,
    canvas: Canvas,
    requests,
    limits,
    endings,
    watch: Callable[[Canvas], object] | None = None,
) -> None:
    """Fills the continuation of every row in place; with `stop_id` a row ends behind its first such token."""
    weight = network.embedding.weight
    device = weight.device
    length = int((canvas.lengths_B - canvas.starts_B).max())
    width = int(canvas.starts_B.max())
    rows_R = torch.arange(len(canvas.tokens_BL))
    uniforms_BT = torch.stack([torch.from_numpy(uniforms(*seed, length)) for seed in canvas.seeds])
    cache = KVCache(network.config, len(rows_R), canvas.tokens_BL.shape[1], device, weight.dtype)

    # Whatever lies behind a short prompt is overwritten in the cache before any query may look at it.
    tokens_RT = canvas.tokens_BL[:, :width].clamp(max=network.config.vocab_size - 1)
    positions_RT = torch.arange(width).expand(len(rows_R), width)
    hidden_RTE = network.hidden(tokens_RT.to(device), positions_BT=positions_RT.to(device), cache=cache)
    hidden_RE = hidden_RTE[rows_R.to(device), (canvas.starts_B - 1).to(device)]
    for step in range(length):
        temperature_R = torch.tensor([requests[r].temperature for r in rows_R.tolist()], dtype=torch.float64)
        found = propose(network.head(hidden_RE), Draws(temperature_R, uniforms_BT[rows_R, step]))
        tokens_R, probability_R = found.tokens_N, found.probability_N
        position_R = canvas.starts_B[rows_R] + step
        canvas.nfe_B[rows_R] += 1
        canvas.passes += 1
        here_RL = torch.arange(canvas.tokens_BL.shape[1]) == position_R[:, None]
        canvas.commit(
            rows_R,
            here_RL,
            tokens_R[:, None].expand(here_RL.shape),
            probability_R[:, None].expand(here_RL.shape),
            torch.full_like(rows_R, step),
        )
        endings.close(rows_R)
        if watch is not None:
            watch(canvas)
        running_R = canvas.open_BL[rows_R].any(1)
        if not running_R.any():
            return
        if not running_R.all():
            cache.keep(running_R.nonzero().flatten().to(device))
            rows_R, tokens_R, position_R = rows_R[running_R], tokens_R[running_R], position_R[running_R]
        hidden_RE = network.hidden(
            tokens_R[:, None].to(device), positions_BT=position_R[:, None].to(device), cache=cache
        )[:, -1]
