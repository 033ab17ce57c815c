"""Whether a greedy decoder would write a continuation, most confident token first: the paper's check for LAMBADA.

    greedy(model, [("My fellow", " Americans")])[0].matches
    greedy(model, pairs, guidance=1.1, whole=True)[0].tokens       # what it writes, right or wrong

All tokens of the continuation begin as masks; at each step the position whose likeliest token is the most probable is
settled, one a step (arXiv 2410.18514, code of the evaluation). A continuation is left at its first wrong token, so that
most cost one pass. An autoregressive model writes from left to right: one pass over the right answer tells.

Shapes: N masked positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.likelihood.pairs import Pair, Tokens, make_pairs
from unmask.likelihood.passes import Query, batches, check_finite, check_guidance, run_queries, scored_logits
from unmask.model.folder import Model


@dataclass(frozen=True)
class Greedy:
    """matches: the decoder writes exactly this continuation. tokens: what it writes, with `whole` and an MDM only."""

    matches: bool
    tokens: list[int] | None = None


def greedy(
    model: Model,
    pairs: Sequence[tuple[Tokens, Tokens]],
    guidance: float = 0.0,
    whole: bool = False,
    batch_tokens: int | None = None,
    special_tokens: bool = False,
) -> list[Greedy]:
    """A `Greedy` for each (context, continuation). `whole` decodes to the end where the answer is already wrong;
    special_tokens: those that texts spell are ids."""
    check_guidance(model, guidance)
    return greedy_of(model, make_pairs(model, pairs, special_tokens), guidance, whole, batch_tokens)


def greedy_of(
    model: Model, pairs: list[Pair], guidance: float = 0.0, whole: bool = False, batch_tokens: int | None = None
) -> list[Greedy]:
    """`greedy` of pairs that are encoded already."""
    if model.kind == "arm":
        nothing = np.arange(0)
        queries = (Query(p.ids_T, nothing, np.arange(p.start, len(p.ids_T)), item=i) for i, p in enumerate(pairs))
        return [Greedy(hit) for _, _, hit in run_queries(model, queries, 0.0, batch_tokens)]
    written = [np.full(pair.n_tokens, -1) for pair in pairs]
    longest_first = sorted(range(len(pairs)), key=lambda i: -len(pairs[i].ids_T))
    running = longest_first
    while running:
        queries = (_query(pairs[i], written[i], i) for i in running)
        for batch in batches(model, queries, guidance, batch_tokens):
            confidence, token = [], []
            for _, logits_nV in scored_logits(model, batch, guidance):
                best = logits_nV.log_softmax(1).max(1)
                confidence.append(best.values.double().cpu().numpy())
                token.append(best.indices.cpu().numpy())
            check_finite(model, np.concatenate(confidence))
            ends = np.cumsum([len(query.scored) for query in batch])[:-1]
            parts = zip(
                batch, np.split(np.concatenate(confidence), ends), np.split(np.concatenate(token), ends), strict=True
            )
            for query, confidence_n, token_n in parts:
                surest = int(confidence_n.argmax())
                written[query.item][query.scored[surest] - pairs[query.item].start] = token_n[surest]
        running = [i for i in running if (written[i] < 0).any() and (whole or _right_so_far(pairs[i], written[i]))]
    return [
        Greedy(bool((tokens == pair.ids_T[pair.start :]).all()), tokens.tolist() if whole else None)
        for pair, tokens in zip(pairs, written, strict=True)
    ]


def _query(pair: Pair, written: np.ndarray, item: int) -> Query:
    """The pair as far as it is decoded: what is open is masked and asked for."""
    ids_T = pair.ids_T.copy()
    ids_T[pair.start :] = np.maximum(written, 0)
    open_N = pair.start + np.flatnonzero(written < 0)
    return Query(ids_T, open_N, open_N, pair.prompt, item)


def _right_so_far(pair: Pair, written: np.ndarray) -> bool:
    return bool(((written < 0) | (written == pair.ids_T[pair.start :])).all())
