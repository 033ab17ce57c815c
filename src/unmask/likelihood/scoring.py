"""Log-likelihood of continuations given their contexts, each number with its standard error and its protocol.

    unmask score runs/demo/mdm "The state of the Union is strong." --draws 128
    score(model, [("My fellow", " Americans"), ([5, 6], [7])], method="mc-fixed", draws=128, seed=0)

Estimators: `unmask.likelihood.estimators`; docs/likelihood.md says what each targets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.likelihood.estimators import check_draws, check_method, combine, group_sizes, is_monte_carlo, looks
from unmask.likelihood.pairs import Pair, Tokens
from unmask.likelihood.passes import BATCH_TOKENS, Query, check_guidance, run_queries
from unmask.model.folder import Model


@dataclass(frozen=True)
class Score:
    """A log-likelihood in nats (never positive) and how it was got. A bound lies below the true value."""

    logprob: float
    se: float  # standard error of `logprob` by Monte Carlo; 0.0 where nothing is drawn
    n_tokens: int
    n_bytes: int | None  # UTF-8 bytes scored; None for token ids without a tokenizer
    method: str
    draws: int  # 0 where nothing is drawn
    guidance: float
    seed: int
    is_bound: bool
    context_dropped: int  # context tokens that did not fit
    config_hash: str

    @property
    def nats_per_token(self) -> float:
        """-logprob per scored token."""
        return -self.logprob / self.n_tokens

    @property
    def bits_per_byte(self) -> float | None:
        return -self.logprob / math.log(2) / self.n_bytes if self.n_bytes else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the fields and the two rates."""
        rates = {"nats_per_token": self.nats_per_token, "bits_per_byte": self.bits_per_byte}
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self), **rates}


SCHEMA_VERSION = 1  # of `Score.to_dict`


def config_hash(model: Model) -> str:
    """16 hex digits of the model's shape and tokenizer: numbers under different ones are not comparable per token."""
    facts = {"model": model.config.to_dict(), "tokenizer": model.tokenizer.hash if model.tokenizer else None}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def score(
    model: Model,
    pairs: Sequence[tuple[Tokens, Tokens]],
    method: str | None = None,
    guidance: float = 0.0,
    draws: int = 128,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Score]:
    """A `Score` for each (context, continuation), text or token ids, in their order.

    method: ``mc-fixed`` (default), ``mc-bernoulli`` (the paper's), ``chain-rule`` or ``exact``; an autoregressive model
    answers every one of them exactly. guidance: w of unsupervised guidance. batch_tokens: tokens in one forward pass.
    A context too long for the model loses tokens on its left, which is counted and warned of. Raises `UserError` for
    an empty continuation, one longer than the model's context, and logits that are not finite.
    """
    method = "mc-fixed" if method is None else method
    check_method(method)
    check_draws(draws, 2 if is_monte_carlo(method) else 0)
    check_guidance(model, guidance)
    made = [_pair(model, pair, index) for index, pair in enumerate(pairs)]
    if cut := sum(pair.dropped > 0 for pair in made):
        warnings.warn(
            f"{cut} of {len(made)} contexts are cut on the left to fit the model's {model.config.block_size} tokens",
            stacklevel=2,
        )
    causal = model.kind == "arm"
    method = "exact" if causal else method
    sampled = not causal and is_monte_carlo(method)
    sizes = group_sizes(draws, 4) if sampled else [1]
    protocol = config_hash(model)
    values = [np.zeros(draws if sampled else 1) for _ in made]
    for query, nats in run_queries(model, _queries(made, causal, method, draws, seed), guidance, batch_tokens):
        values[query.item][query.draw if sampled else 0] += query.weight * nats
    scores = []
    for pair, value in zip(made, values, strict=True):
        nats, se = combine(value, sizes)
        scores.append(
            Score(
                logprob=-nats,
                se=se,
                n_tokens=pair.n_tokens,
                n_bytes=pair.n_bytes,
                method=method,
                draws=draws if sampled else 0,
                guidance=float(guidance),
                seed=seed,
                is_bound=not causal and method != "chain-rule",
                context_dropped=pair.dropped,
                config_hash=protocol,
            )
        )
    return scores


def _pair(model: Model, pair: tuple[Tokens, Tokens], index: int) -> Pair:
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise UserError(f"pair {index} is not a (context, continuation); give two texts or two lists of token ids")
    try:
        return Pair.make(model, *pair, index=index)
    except (TypeError, ValueError) as error:
        raise UserError(f"pair {index} holds neither texts nor lists of token ids; give one or the other") from error


def _queries(pairs: list[Pair], causal: bool, method: str, draws: int, seed: int) -> Iterator[Query]:
    """Longest first, so that a batch has little padding and a lack of memory shows at once."""
    for item in sorted(range(len(pairs)), key=lambda i: -len(pairs[i].ids_T)):
        pair = pairs[item]
        if causal:
            scored = np.arange(pair.start, len(pair.ids_T))
            yield Query(pair.ids_T, scored[:0], scored, item=item)
            continue
        for look in looks(method, pair.n_tokens, draws, seed, pair.key):
            masked, scored = look.masked + pair.start, look.scored + pair.start
            yield Query(pair.ids_T, masked, scored, pair.prompt, item, look.draw, look.weight)
