"""Likelihoods the way the paper's public code computes them, as the other arm of `benchmarks.likelihood`.

    reference_bound(model, pair, draws=32, seed=0)       # nats: Bernoulli masks at stratified levels
    reference_chain(model, pair)                         # nats: a pass for each token, left to right

One request at a time; its draws are one batch (of at most `BATCH`, as there); logits at every position, of which the
masked ones are used (arXiv 2410.18514, code of the evaluation). Written anew from that description, on our backbone.

Shapes: B draws, T tokens, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from unmask.likelihood.pairs import Pair
from unmask.model.folder import Model
from unmask.model.visibility import keys

BATCH = 32


@torch.no_grad()
def reference_bound(model: Model, pair: Pair, draws: int, seed: int) -> float:
    """Nats of a pair: the mean over draws of CE / t summed over masked positions, t stratified in each batch."""
    generator = torch.Generator().manual_seed(seed)
    ids_T = torch.from_numpy(pair.ids_T)
    length = pair.n_tokens
    total = 0.0
    for start in range(0, draws, BATCH):
        batch = min(BATCH, draws - start)
        t_B = (torch.rand(1, generator=generator) + torch.arange(batch) / batch) % 1
        masked_BL = torch.rand(batch, length, generator=generator) < t_B[:, None]
        tokens_BT = ids_T.repeat(batch, 1)
        answer_BL = tokens_BT[:, pair.start :]
        answer_BL[masked_BL] = int(model.mask_id or 0)
        logits_BTV = model.network(tokens_BT.to(model.device))
        targets_BT = ids_T.repeat(batch, 1)[:, pair.start :].to(model.device)
        ce_BL = F.cross_entropy(logits_BTV[:, pair.start :].transpose(1, 2), targets_BT, reduction="none").cpu()
        total += float((ce_BL * masked_BL / t_B.clamp_min(1e-12)[:, None]).sum())
    return total / draws


@torch.no_grad()
def reference_chain(model: Model, pair: Pair) -> float:
    """Nats of a pair by the left-to-right chain, batch of one, logits everywhere."""
    tokens_1T = torch.from_numpy(pair.ids_T)[None].clone()
    tokens_1T[:, pair.start :] = int(model.mask_id or 0)
    total = 0.0
    for position in range(pair.start, len(pair.ids_T)):
        target = int(pair.ids_T[position])
        logits_1TV = model.network(tokens_1T.to(model.device))
        total -= float(logits_1TV[0, position].log_softmax(0)[target])
        tokens_1T[0, position] = target
    return total


def batched_chain_everywhere(model: Model, pairs: list[Pair], batch_tokens: int) -> np.ndarray:
    """The chains of all pairs as we batch them, but with logits at every position: what the head alone costs."""
    from unmask.likelihood.estimators import Estimator
    from unmask.likelihood.passes import batches
    from unmask.likelihood.queries import Query

    queries = (
        query
        for item, pair in enumerate(pairs)
        for query in Estimator("chain-rule").queries(Query.of(pair, item), 0, pair.key)
    )
    nats = np.zeros(len(pairs))
    for batch in batches(model, queries, 0.0, batch_tokens):
        width = max(len(query.ids_T) for query in batch)
        tokens_BT = np.zeros((len(batch), width), dtype=np.int64)
        inside_BT = np.zeros((len(batch), width), dtype=bool)
        for row, query in enumerate(batch):
            tokens_BT[row, : len(query.ids_T)] = query.ids_T
            tokens_BT[row, query.masked] = int(model.mask_id or 0)
            inside_BT[row, : len(query.ids_T)] = True
        sees = model.network.sees & keys(torch.from_numpy(inside_BT).to(model.device))
        with torch.no_grad():
            logits_BTV = model.network(torch.from_numpy(tokens_BT).to(model.device), sees=sees)
        for row, query in enumerate(batch):
            at = int(query.scored[0])
            nats[query.item] -= float(logits_BTV[row, at].log_softmax(0)[int(query.ids_T[at])])
    return nats
