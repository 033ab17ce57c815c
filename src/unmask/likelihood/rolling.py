"""Log-likelihood of texts longer than the model's context, in windows that score every token once.

    unmask score runs/demo/mdm --file speech.txt --rolling --overlap 16
    rolling(model, [text], window=64, overlap=16)

The first window is a clean end-of-sequence token (or the model's begin token) and the text's first `window` - 1 tokens.
Each later one shows the model `overlap` tokens before those it scores; the last one reaches back so far that it is
full. These are the windows of lm-evaluation-harness, by which both kinds of model score the same tokens given the same
tokens. The sum over windows of a bound is a bound on the likelihood of the text under a model that sees no further back
than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair, Tokens
from unmask.likelihood.scoring import Rates, Score, error_of_total, score_pairs
from unmask.model.folder import Model


@dataclass(frozen=True)
class RollingScore(Rates):
    """A text's log-likelihood in nats, the sum over its windows, and how it was got."""

    logprob: float
    se: float
    n_tokens: int
    n_bytes: int | None
    windows: int
    window: int  # tokens in one pass, context included
    overlap: int  # tokens of context that each window but the first begins with, at least
    method: str
    order: str
    target: str
    draws: int  # of each window; the most of them with `until_se`
    groups: int  # independent groups that the error of the sum is worth; 0 where nothing is drawn
    seed: int
    is_bound: bool
    config_hash: str
    dtype: str = "fp32"  # of the model's weights
    decode: dict[str, Any] | None = None  # the rules of the decoder that was replayed; None where none was


def rolling(
    model: Model,
    texts: Sequence[Tokens],
    window: int | None = None,
    overlap: int = 1,
    method: str | None = None,
    draws: int | None = None,
    seed: int = 0,
    batch_tokens: int | None = None,
    order: str = "left-to-right",
    until_se: float | None = None,
    special_tokens: bool = False,
    progress: Callable[[int, int], object] | None = None,
    names: Sequence[str] | None = None,
    decode: Mapping[str, Any] | None = None,
) -> list[RollingScore]:
    """A `RollingScore` for each text (or list of token ids), in their order.

    window: tokens in one pass, by default the model's context. overlap: tokens of context a later window begins with.
    until_se: of each window, in nats. names: what messages call the texts ("text 0", ...). The rest as in `score`;
    guidance has no meaning here, since there is no prompt.
    Raises `UserError` for an empty text, windows that do not fit the model, and a model without an end of sequence.
    """
    start_id, context = model.start_id, model.config.block_size
    window = context if window is None else window
    if not 2 <= window <= context:
        raise UserError(f"window is {window}; give 2 to {context}, the model's context")
    if not 1 <= overlap < window:
        raise UserError(f"overlap is {overlap}; give 1 to {window - 1}, less than the window")
    if start_id is None:
        raise UserError("the model has no eos_id to put before a text; rolling likelihood needs one")
    made: list[Pair] = []
    texts_of: list[int] = []
    ids_of = []
    for number, text in enumerate(texts):
        ids, name = text_ids(model, text, special_tokens), names[number] if names else f"text {number}"
        if not ids:
            raise UserError(f"{name} is empty; give at least one token to score")
        if model.mask_id in ids:
            raise UserError(f"{name} holds the mask ({model.mask_id}); give clean tokens")
        pairs = [Pair(ids_T, start, 0, None, 0) for ids_T, start in windows(ids, start_id, window, overlap)]
        made += pairs
        texts_of += [number] * len(pairs)
        ids_of.append(ids)
    estimator = Estimator(method or "mc-fixed", draws, order, decode)
    scores = score_pairs(model, made, estimator, 0.0, seed, batch_tokens, until_se, progress=progress)
    pairs_of: list[list[Pair]] = [[] for _ in ids_of]
    scores_of: list[list[Score]] = [[] for _ in ids_of]
    for pair, score, number in zip(made, scores, texts_of, strict=True):
        pairs_of[number].append(pair)
        scores_of[number].append(score)
    results = []
    for text, ids, pairs, own in zip(texts, ids_of, pairs_of, scores_of, strict=True):
        n_bytes = len(text.encode()) if isinstance(text, str) else None
        if n_bytes is None and model.tokenizer is not None:
            n_bytes = model.tokenizer.n_bytes(ids)
        shape = {"n_tokens": len(ids), "n_bytes": n_bytes, "window": window, "overlap": overlap, "seed": seed}
        results.append(total(pairs, own, **shape))
    return results


def total(pairs: list[Pair], own: list[Score], **shape: Any) -> RollingScore:
    """The score of a text from those of its windows; `shape` are the fields that windows do not know."""
    se, groups = error_of_total(pairs, own)
    return RollingScore(
        logprob=sum(score.logprob for score in own),
        se=se,
        windows=len(own),
        method=own[0].method,
        order=own[0].order,
        target=own[0].target,
        draws=max(score.draws for score in own),
        groups=groups,
        is_bound=own[0].is_bound,
        config_hash=own[0].config_hash,
        dtype=own[0].dtype,
        decode=own[0].decode,
        **shape,
    )


def text_ids(model: Model, text: Tokens, special_tokens: bool = False) -> list[int]:
    """Token ids of a whole text without its begin token, which the first window has anyway; ids as they are."""
    ids = model.encode(text, special_tokens)
    return ids[1:] if isinstance(text, str) and ids[:1] == [model.config.bos] else ids


def windows(ids: Sequence[int], start_id: int, window: int, overlap: int) -> Iterator[tuple[np.ndarray, int]]:
    """(tokens, how many of them are given) of every window."""
    all_T = np.array([start_id, *ids], dtype=np.int64)
    done, end = 1, min(window, len(all_T))
    while True:
        begin = max(0, end - window)
        yield all_T[begin:end], done - begin
        if end == len(all_T):
            return
        done, end = end, min(end + window - overlap, len(all_T))
