"""The autoregressive twin: the same canvas, filled left to right from a causal model with a preallocated KV cache.

    fill(network, canvas, requests, limits, endings)

One pass runs the prompts, then a `DecodeStep` each token of all rows. Prompts of different lengths share the cache;
rows may differ in temperature, top-k, top-p, length, limits and where they end. A row that has ended leaves the batch,
cache and all, so that the rest goes on at its own price. What a row writes is a function of its own seed alone.

Shapes: B rows, R rows still running, T prompt tokens, S steps, N tokens written at once, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.options import Request
from unmask.decoding.passes.propose import Draws, propose
from unmask.decoding.state.canvas import Canvas
from unmask.diffusion.noise import uniforms
from unmask.model.cache import KVCache
from unmask.model.decode_step import DecodeStep
from unmask.model.transformer import Transformer


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
    device = network.device
    running = Running(canvas, requests, endings)
    told = any(stop is not None for stop in endings.stops)
    # Who reads the canvas between steps needs it up to date.
    each_step = watch is not None or limits.any or told
    cache = network.cache(len(requests), int(canvas.lengths_B.max()))
    hidden_RE = run_prompts(network, canvas, cache)
    decode = DecodeStep(network, cache, running.steps)
    while True:
        logits_RV = decode.head(hidden_RE)
        if limits.any:
            logits_RV = running.allowed(limits, logits_RV)
        found = propose(logits_RV, running.draws())
        ended = running.take(found.tokens_N, found.probability_N)
        leaving = bool(ended) or running.step >= running.until
        if leaving or each_step or running.step == 1:
            running.write()
            for row, length in ended:
                canvas.cut(row, length, "eos")
            if told:
                endings.close(running.rows_R[running.told_R])
            if watch is not None:
                watch(canvas)
        if leaving or told:
            going_R = running.going()
            if not going_R.any():
                return
            if not going_R.all():
                running.keep(decode.drop(going_R.to(device), running.last_position + 1).cpu())
        hidden_RE = decode(running.tokens_R.to(device), running.position_R - 1)


def run_prompts(network: Transformer, canvas: Canvas, cache: KVCache) -> torch.Tensor:
    """Hidden states [B, E] of the last token of every prompt; the cache takes the prompts in.

    Whatever lies behind a short prompt is overwritten in the cache before any query may look at it.
    """
    device = cache.slots.device
    rows, width = len(canvas.tokens_BL), int(canvas.starts_B.max())
    tokens_BT = canvas.tokens_BL[:, :width]
    tokens_BT = tokens_BT.masked_fill(tokens_BT == canvas.mask_id, 0)  # which is no token of a causal model
    at = torch.arange(rows, device=device), canvas.starts_B.to(device)
    positions_BT = torch.arange(width, device=device).expand(rows, width)
    return network.hidden(tokens_BT.to(device), positions_BT=positions_BT, cache=cache, at=at)


class Running:
    """The rows still running, in the cache's order, and what they have drawn since it was last written; on the CPU."""

    def __init__(self, canvas: Canvas, requests: Sequence[Request], endings: Endings) -> None:
        self.canvas, self.eos_ids = canvas, endings.eos_ids
        lengths_B = canvas.lengths_B - canvas.starts_B
        self.steps, self.until = int(lengths_B.max()), int(lengths_B.min())  # of the longest row, of the shortest
        self.step = 0
        self.rows_R = torch.arange(len(requests))
        self.position_R = canvas.starts_B.clone()  # written next
        self.tokens_R = torch.empty(0, dtype=torch.int64)  # written last
        self.temperature_R = torch.tensor([request.temperature for request in requests], dtype=torch.float64)
        self.top_p_R = torch.tensor([request.top_p or 1.0 for request in requests], dtype=torch.float64)
        self.top_k_R = torch.tensor([request.top_k or 0 for request in requests])
        self.filtered = bool((self.top_p_R < 1).any() or (self.top_k_R > 0).any())
        self.ends_R = endings.stop_B | endings.truncate_B  # at its end of sequence
        self.told_R = torch.tensor([stop is not None for stop in endings.stops])
        self.uniforms_SR = torch.stack([torch.from_numpy(uniforms(*seed, self.steps)) for seed in canvas.seeds], dim=1)
        self.forced = bool(canvas.forced_BL.any())
        self.pending: list[tuple[torch.Tensor, ...]] = []

    @property
    def last_position(self) -> int:
        return int(self.position_R.max()) - 1

    def draws(self) -> Draws:
        filters = (self.top_p_R, self.top_k_R) if self.filtered else (None, None)
        return Draws(self.temperature_R, self.uniforms_SR[self.step], *filters)

    def allowed(self, limits: Limits, logits_RV: torch.Tensor) -> torch.Tensor:
        asked_RL = torch.arange(self.canvas.tokens_BL.shape[1]) == self.position_R[:, None]
        return limits.allowed(self.rows_R, asked_RL).apply(slice(0, len(self.rows_R)), logits_RV)

    def take(self, tokens_R: torch.Tensor, probability_R: torch.Tensor) -> list[tuple[int, int]]:
        """Notes a token of every row; returns the rows that end behind it, with their lengths."""
        place = (self.rows_R, self.position_R)
        columns: tuple[torch.Tensor, ...] = (*place, tokens_R, probability_R, torch.full_like(self.rows_R, self.step))
        if self.forced:
            # The caller's word stands; what was drawn there is no commitment.
            forced_R = self.canvas.forced_BL[place]
            tokens_R = torch.where(forced_R, self.canvas.tokens_BL[place], tokens_R)
            columns = tuple(column[~forced_R] for column in columns)
        self.pending.append(columns)
        self.tokens_R, self.position_R, self.step = tokens_R, self.position_R + 1, self.step + 1
        if not any(token in self.eos_ids for token in tokens_R.tolist()):
            return []
        ended = (self.ends_R & torch.isin(tokens_R, torch.tensor(self.eos_ids))).nonzero().flatten()
        return list(zip(self.rows_R[ended].tolist(), self.position_R[ended].tolist(), strict=True))

    def write(self) -> None:
        """Brings the canvas up to date: what each row has drawn, and the passes it took part in."""
        canvas, steps = self.canvas, len(self.pending)
        canvas.write(*(torch.cat(column) for column in zip(*self.pending, strict=True)))
        canvas.passes += steps
        canvas.nfe_B[self.rows_R] += steps
        canvas.computed_B[self.rows_R] = canvas.starts_B[self.rows_R] + canvas.nfe_B[self.rows_R] - 1
        self.pending = []

    def going(self) -> torch.Tensor:
        """Bool [R]: rows that have something left to write."""
        return self.position_R < self.canvas.lengths_B[self.rows_R]

    def keep(self, order_R: torch.Tensor) -> None:
        """Only these rows from now on, in this order; the canvas must be up to date."""
        for name in ("rows", "position", "tokens", "temperature", "top_p", "top_k", "ends", "told"):
            setattr(self, f"{name}_R", getattr(self, f"{name}_R")[order_R])
        self.uniforms_SR = self.uniforms_SR[:, order_R]
        left_R = self.canvas.lengths_B[self.rows_R] - self.position_R
        self.until = self.step + int(left_R.min())
