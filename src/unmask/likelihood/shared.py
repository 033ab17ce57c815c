"""An autoregressive model's answers to multiple-choice questions: each context is read once for all its answers.

    for item, ce_n, greedy in run_shared(model, pairs, items, batch_tokens):
        ...                                       # -log p of every token of pairs[item]'s continuation

The keys and values of a context are the same whatever follows it, so they are kept, repeated for each answer, and only
the answers are run. A masked diffusion model sees both ways and has no such part.

Shapes: G contexts, A answers, T tokens, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from unmask.likelihood.pairs import Pair
from unmask.likelihood.passes import batch_size, check_finite
from unmask.model.folder import Model

WORTH = 8  # tokens of context below which reading it again is cheaper than keeping it


def shareable(pairs: list[Pair]) -> list[list[int]]:
    """Items of equal context, longest first; those that share with nobody are left out."""
    groups: dict[bytes, list[int]] = {}
    for item, pair in enumerate(pairs):
        if pair.start >= WORTH:
            groups.setdefault(pair.ids_T[: pair.start].tobytes(), []).append(item)
    shared = [items for items in groups.values() if len(items) > 1]
    return sorted(shared, key=lambda items: -max(len(pairs[i].ids_T) for i in items))


def run_shared(
    model: Model, pairs: list[Pair], groups: list[list[int]], batch_tokens: int | None = None
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Each item of the groups with its nats at every token and whether all of them were the likeliest."""
    room = batch_size(model, batch_tokens)
    batch: list[list[int]] = []
    for group in groups:
        rows = sum(len(items) for items in batch) + len(group)
        longest = len(pairs[(batch or [group])[0][0]].ids_T)
        if batch and rows * longest > room:
            yield from _run(model, pairs, batch)
            batch = []
        batch.append(group)
    if batch:
        yield from _run(model, pairs, batch)


@torch.no_grad()
def _run(model: Model, pairs: list[Pair], groups: list[list[int]]) -> Iterator[tuple[int, np.ndarray, bool]]:
    network, device, alignment = model.network, model.device, model.config.alignment
    items = [item for group in groups for item in group]
    starts_G = np.array([pairs[group[0]].start for group in groups])
    group_A = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    answer = max(pairs[item].n_tokens for item in items)
    length = min(int(starts_G.max()) + answer, model.config.block_size)
    cache = network.cache(len(groups), length)

    # What lies behind a short context is overwritten in the cache before any answer may look at it.
    context_GT = np.zeros((len(groups), starts_G.max()), dtype=np.int64)
    for row, group in enumerate(groups):
        context_GT[row, : starts_G[row]] = pairs[group[0]].ids_T[: starts_G[row]]
    positions_T = torch.arange(context_GT.shape[1], device=device)
    hidden_GTE = network.hidden(
        torch.from_numpy(context_GT).to(device), positions_BT=positions_T.expand(context_GT.shape), cache=cache
    )
    last_GE = hidden_GTE[torch.arange(len(groups)), alignment.place(torch.from_numpy(starts_G))]
    hidden_AE = last_GE[torch.from_numpy(group_A)]  # predicts the first token of each answer
    parts = [hidden_AE[:, None]]
    if answer > 1:
        cache.keep(torch.from_numpy(group_A).to(device))
        tokens_AT = np.zeros((len(items), answer - 1), dtype=np.int64)
        for row, item in enumerate(items):
            given = pairs[item].ids_T[pairs[item].start : alignment.fed(len(pairs[item].ids_T))]
            tokens_AT[row, : len(given)] = given
        # Padding behind a short answer looks at nothing and nothing looks at it; only its place must exist.
        positions_AT = np.minimum(starts_G[group_A][:, None] + np.arange(answer - 1), length - 1)
        parts.append(
            network.hidden(
                torch.from_numpy(tokens_AT).to(device),
                positions_BT=torch.from_numpy(positions_AT).to(device),
                cache=cache,
            )
        )
    hidden_ATE = torch.cat(parts, dim=1)
    for row, item in enumerate(items):
        pair = pairs[item]
        targets = torch.from_numpy(pair.ids_T[pair.start :]).to(device)
        logits_TV = network.head(hidden_ATE[row, : pair.n_tokens])
        ce_n = F.cross_entropy(logits_TV, targets, reduction="none").double().cpu().numpy()
        check_finite(model, ce_n)
        yield item, ce_n, bool((logits_TV.argmax(1) == targets).all())
