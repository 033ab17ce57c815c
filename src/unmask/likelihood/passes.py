"""Forward passes for likelihoods: sums of cross-entropy at chosen positions of partly masked sequences, in batches.

    for query, nats in run_queries(model, queries, guidance=0.6):
        ...                                   # -log p(ids[scored] | what is not masked), summed over `scored`

Every estimator is a set of such queries. Sequences of several lengths share a batch, padded on the right behind a key
mask; the head runs at scored positions only; log-softmax in fp32, sums in float64.

Guidance is the paper's unsupervised classifier-free guidance (arXiv 2410.18514): logits = u + (1 + w)(c - u), where c
sees the prompt and u sees the mask at every position of it. w = 0 costs one pass, not two.

Shapes: B sequences, T tokens, N scored positions, E width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from unmask.errors import UserError
from unmask.model.folder import Model

BATCH_TOKENS = 16384
HEAD_ELEMENTS = 1 << 24  # logits held at once: 64 MiB in fp32, whatever the vocabulary


@dataclass(frozen=True, eq=False)
class Query:
    """One sequence, what of it the model may not see, and where it is asked."""

    ids_T: np.ndarray  # the clean tokens, int64
    masked: np.ndarray  # positions that hold the mask (none for an ARM)
    scored: np.ndarray  # positions whose cross-entropy is summed
    prompt: int = 0  # leading positions that the unconditional pass masks
    item: int = 0  # for the caller: which text,
    draw: int = 0  # which draw of it,
    weight: float = 1.0  # and what to multiply the nats with


def check_guidance(model: Model, guidance: float) -> None:
    if not math.isfinite(guidance):
        raise UserError(f"guidance is {guidance}; give a finite number, 0 for none")
    if guidance and model.kind == "arm":
        raise UserError("guidance needs a masked diffusion model, an autoregressive one has no mask; set it to 0")


def run_queries(
    model: Model, queries: Iterable[Query], guidance: float = 0.0, batch_tokens: int = BATCH_TOKENS
) -> Iterator[tuple[Query, float]]:
    """Each query with its nats, in their order; batches of at most `batch_tokens` (or one sequence)."""
    if batch_tokens < 1:
        raise UserError(f"batch_tokens is {batch_tokens}; give at least 1")
    for batch in _batches(queries, batch_tokens // (2 if guidance else 1)):
        nats_B = _summed_ce(model, batch, guidance)
        if not np.isfinite(nats_B).all():
            where = f" of {model.path}" if model.path else ""
            raise UserError(f"the logits{where} are not finite; the weights are damaged or their training diverged")
        yield from zip(batch, nats_B.tolist(), strict=True)


def _batches(queries: Iterable[Query], batch_tokens: int) -> Iterator[list[Query]]:
    batch: list[Query] = []
    longest = 0
    for query in queries:
        longest = max(longest, len(query.ids_T))
        if batch and longest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, longest = [], len(query.ids_T)
        batch.append(query)
    if batch:
        yield batch


@torch.no_grad()
def _summed_ce(model: Model, batch: list[Query], guidance: float) -> np.ndarray:
    """float64[B]: each query's summed cross-entropy."""
    causal = model.config.causal
    lengths_B = np.array([len(query.ids_T) - causal for query in batch])  # an ARM's last token is only a target
    tokens_BT = np.zeros((len(batch), lengths_B.max()), dtype=np.int64)
    for row, (query, length) in enumerate(zip(batch, lengths_B, strict=True)):
        tokens_BT[row, :length] = query.ids_T[:length]
        tokens_BT[row, query.masked] = model.mask_id or 0  # an ARM masks nothing
    rows_N = np.repeat(np.arange(len(batch)), [len(query.scored) for query in batch])
    scored_N = np.concatenate([query.scored for query in batch])
    targets_N = np.concatenate([query.ids_T[query.scored] for query in batch])
    where_N = rows_N * tokens_BT.shape[1] + scored_N - causal  # an ARM predicts from the token before
    inside_BT = np.arange(tokens_BT.shape[1]) < lengths_B[:, None]
    guided = bool(guidance) and any(query.prompt for query in batch)
    if guided:
        blind_BT = tokens_BT.copy()
        for row, query in enumerate(batch):
            blind_BT[row, : query.prompt] = model.mask_id
        tokens_BT, inside_BT = np.concatenate([tokens_BT, blind_BT]), np.concatenate([inside_BT, inside_BT])

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(model.device)

    key_mask_BT = None if inside_BT.all() else put(inside_BT)
    hidden_E = model.network.hidden(put(tokens_BT), key_mask_BS=key_mask_BT).flatten(0, 1)
    parts = []
    step = max(1, HEAD_ELEMENTS // model.config.vocab_size)
    blind = tokens_BT.size // 2  # where the unconditional half begins
    for at_N, to_N in zip(put(where_N).split(step), put(targets_N).split(step), strict=True):
        logits_NV = model.network.head(hidden_E[at_N]).float()
        if guided:
            blind_NV = model.network.head(hidden_E[at_N + blind]).float()
            logits_NV = blind_NV + (1 + guidance) * (logits_NV - blind_NV)
        parts.append(F.cross_entropy(logits_NV, to_N, reduction="none").double().cpu().numpy())
    return np.bincount(rows_N, weights=np.concatenate(parts), minlength=len(batch))
