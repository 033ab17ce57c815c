"""The autoregressive twin: the same canvas, filled left to right from a causal model with a preallocated KV cache.

    fill(network, canvas, requests, limits, endings)

One pass runs the prompts, then a `DecodeStep` each token of all rows. Prompts of different lengths share the cache; rows
may differ in temperature, top-k, top-p, length, limits and where they end. A row that has ended leaves the batch, cache
and all, so that the rest goes on at its own price. What a row writes is a function of its own seed alone.

Shapes: B rows, R rows still running, T prompt tokens, S steps, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch

from unmask.decoding.canvas import Canvas
from unmask.decoding.endings import Endings
from unmask.decoding.limits import Limits
from unmask.decoding.propose import Draws, propose
from unmask.decoding.request import Request
from unmask.diffusion.noise import uniforms
from unmask.model.cache import KVCache
from unmask.model.decode_step import DecodeStep
from unmask.model.transformer import Transformer


@dataclass
class Running:
    """What is known of the rows still running, in the cache's order; all on the CPU."""

    rows_R: torch.Tensor  # indices into the canvas
    position_R: torch.Tensor  # that is written next
    temperature_R: torch.Tensor
    top_p_R: torch.Tensor
    top_k_R: torch.Tensor
    ends_R: torch.Tensor  # bool: at its end of sequence
    uniforms_RS: torch.Tensor

    def keep(self, order_R: torch.Tensor) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[order_R])


@torch.inference_mode()
def fill(
    network: Transformer,
    canvas: Canvas,
    requests: Sequence[Request],
    limits: Limits,
    endings: Endings,
    watch: Callable[[Canvas], object] | None = None,
) -> None:
    """Fills the continuation of every row in place."""
    weight = network.embedding.weight
    steps = int((canvas.lengths_B - canvas.starts_B).max())
    running = Running(
        rows_R=torch.arange(len(requests)),
        position_R=canvas.starts_B.clone(),
        temperature_R=torch.tensor([request.temperature for request in requests], dtype=torch.float64),
        top_p_R=torch.tensor([request.top_p or 1.0 for request in requests], dtype=torch.float64),
        top_k_R=torch.tensor([request.top_k or 0 for request in requests]),
        ends_R=endings.stop_B | endings.truncate_B,
        uniforms_RS=torch.stack([torch.from_numpy(uniforms(*seed, steps)) for seed in canvas.seeds]),
    )
    told_B = torch.tensor([stop is not None for stop in endings.stops])
    filtered = bool((running.top_p_R < 1).any() or (running.top_k_R > 0).any())
    cache = KVCache(network.config, len(requests), int(canvas.lengths_B.max()), weight.device, weight.dtype)
    hidden_RE = run_prompts(network, canvas, cache)
    decode = DecodeStep(network, cache, steps)
    for step in range(steps):
        rows_R, position_R = running.rows_R, running.position_R
        logits_RV = decode.head(hidden_RE)
        if limits.any:
            asked_RL = torch.arange(canvas.tokens_BL.shape[1]) == position_R[:, None]
            logits_RV = limits.allowed(rows_R, asked_RL).apply(slice(0, len(rows_R)), logits_RV)
        draws = Draws(running.temperature_R, running.uniforms_RS[:, step])
        if filtered:
            draws.top_p_N, draws.top_k_N = running.top_p_R, running.top_k_R
        found = propose(logits_RV, draws)
        tokens_R = write(canvas, rows_R, position_R, found.tokens_N, found.probability_N, step)
        canvas.nfe_B[rows_R] += 1
        canvas.computed_B[rows_R] += 1 if step else canvas.starts_B
        canvas.passes += 1
        if endings.eos_id is not None and bool((ended_R := running.ends_R & (tokens_R == endings.eos_id)).any()):
            for at in ended_R.nonzero().flatten().tolist():
                canvas.cut(int(rows_R[at]), int(position_R[at]) + 1, "eos")
        if told_B.any():
            endings.close(rows_R[told_B[rows_R]])
        if watch is not None:
            watch(canvas)
        running.position_R = position_R + 1
        running_R = running.position_R < canvas.lengths_B[rows_R]
        if not running_R.all():
            if not running_R.any():
                return
            order_R = decode.drop(running_R, int(position_R.max()) + 1)
            running.keep(order_R)
            tokens_R = tokens_R[order_R]
        hidden_RE = decode(tokens_R.to(weight.device), running.position_R - 1)


def run_prompts(network: Transformer, canvas: Canvas, cache: KVCache) -> torch.Tensor:
    """Hidden states [B, E] of the last token of every prompt; the cache takes the prompts in.

    Whatever lies behind a short prompt is overwritten in the cache before any query may look at it.
    """
    device = cache.slots.device
    rows, width = len(canvas.tokens_BL), int(canvas.starts_B.max())
    tokens_BT = canvas.tokens_BL[:, :width].clamp(max=network.config.vocab_size - 1)
    last_B = torch.arange(rows) * width + canvas.starts_B - 1
    positions_BT = torch.arange(width, device=device).expand(rows, width)
    return network.hidden(tokens_BT.to(device), positions_BT=positions_BT, cache=cache, at_N=last_B.to(device))


def write(
    canvas: Canvas,
    rows_R: torch.Tensor,
    position_R: torch.Tensor,
    tokens_R: torch.Tensor,
    probability_R: torch.Tensor,
    step: int,
) -> torch.Tensor:
    """Commits what was drawn, but for places where the caller has forced a token; returns what stands there now."""
    step_R = torch.full_like(rows_R, step)
    forced_R = canvas.forced_BL[rows_R, position_R]
    if not forced_R.any():
        canvas.write(rows_R, position_R, tokens_R, probability_R, step_R)
        return tokens_R
    drawn_R = ~forced_R
    columns = (rows_R, position_R, tokens_R, probability_R, step_R)
    canvas.write(*(column[drawn_R] for column in columns))
    return canvas.tokens_BL[rows_R, position_R]
