"""A model's bits on held-out text, window by window, by one protocol for both kinds of model.

    result = corpus_bound(model, windows_NT, draws=8, seed=0)
    result.nats_per_token, result.se, result.interval, result.bits_per_byte(n_bytes)

A clean end-of-sequence token precedes each window: the masked model sees [EOS, window with masks], the autoregressive
one [EOS, x1 .. x_T-1], and both score x1 .. x_T. The masked model's number is the NELBO (an upper bound on the nats)
by `mc-windows` (a fixed count of masks, L/k * CE), the autoregressive one's is exact. Noise levels are stratified over
windows and draws together within each of several independent groups of draws; the standard error comes from the spread
of the groups' totals.

Shapes: N windows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.diffusion.noise import uniforms
from unmask.errors import UserError
from unmask.likelihood.method import combine
from unmask.likelihood.methods import WINDOWS
from unmask.likelihood.passes import run_queries
from unmask.likelihood.queries import LEVEL_DRAW, Query, check_draws, fixed_mask, group_sizes
from unmask.likelihood.scoring import config_hash
from unmask.model.folder import Model
from unmask.model.placement import dtype_name
from unmask.statistics import interval

LEVELS = 10
GOLDEN = (math.sqrt(5) - 1) / 2
# Windows are keyed by their index with the top bit set: no training sample has such an index.
WINDOW_KEY = 1 << 63


@dataclass(frozen=True, eq=False)
class CorpusScore:
    """Nats of a set of windows. `se` is the Monte Carlo error alone: these windows, other masks; not other text."""

    nats: float  # total
    nats_se: float | None  # of the total; None with a single draw, 0.0 for an autoregressive model
    n_tokens: int
    window_nats_N: np.ndarray
    token_nats_NT: np.ndarray  # what each scored token has of the total, for sums over kinds of text
    ce_by_level: list[float | None] | None  # mean CE of a masked token by share of masks, ten steps; None for an ARM
    method: str
    draws: int
    groups: int  # independent groups of draws that the error comes from; 0 for an autoregressive model
    seed: int
    is_bound: bool
    eos_first: bool
    config_hash: str
    dtype: str = "fp32"  # of the model's weights

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.n_tokens

    @property
    def se(self) -> float | None:
        """Standard error of `nats_per_token`."""
        return None if self.nats_se is None else self.nats_se / self.n_tokens

    @property
    def interval(self) -> list[float] | None:
        """95% interval of `nats_per_token` for the Monte Carlo error, by Student's t; None with a single draw."""
        return interval(self.nats_per_token, self.se, self.groups)

    def bits_per_byte(self, n_bytes: int) -> float:
        """Bits per byte, where the scored tokens stand for `n_bytes` of text."""
        return self.nats / math.log(2) / n_bytes

    def bits_per_byte_se(self, n_bytes: int) -> float | None:
        return None if self.nats_se is None else self.nats_se / math.log(2) / n_bytes

    def bits_per_byte_interval(self, n_bytes: int) -> list[float] | None:
        return interval(self.bits_per_byte(n_bytes), self.bits_per_byte_se(n_bytes), self.groups)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        skip = ("window_nats_N", "token_nats_NT", *(("dtype",) if self.dtype == "fp32" else ()))
        fields = {name: value for name, value in vars(self).items() if name not in skip}
        rates = {"nats_per_token": self.nats_per_token, "se": self.se, "interval": self.interval}
        return {**fields, **rates, "window_nats": self.window_nats_N.tolist()}


def corpus_bound(
    model: Model,
    windows_NT: np.ndarray,
    eos_first: bool = True,
    draws: int = 8,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> CorpusScore:
    """Scores every token of `windows_NT` (int64 [N, T], clean tokens), each window on its own.

    draws: masks drawn for each window; many windows need few. `eos_first=False` keeps each window's first token as the
    clean context instead of an end-of-sequence token, for both kinds of model, and scores the other T - 1.
    Raises `UserError` for windows that do not fit the model and for logits that are not finite.
    """
    check_draws(draws, 1)
    sequences = _sequences(model, np.asarray(windows_NT), eos_first)
    count, length = sequences.shape[0], sequences.shape[1] - 1
    causal = model.kind == "arm"
    sizes = [1] if causal else group_sizes(draws, 1)
    nats, token_nats = np.zeros((count, sum(sizes))), np.zeros((count, length))
    level_sum, level_count = np.zeros(LEVELS), np.zeros(LEVELS)
    for query, ce, _ in run_queries(model, _queries(sequences, causal, sizes, seed), batch_tokens=batch_tokens):
        nats[query.item, query.draw] = query.weight * ce.sum()
        token_nats[query.item, query.scored - 1] += query.weight / sum(sizes) * ce
        level = min(int(LEVELS * len(query.masked) / length), LEVELS - 1)
        level_sum[level] += ce.mean()
        level_count[level] += 1
    total, se = combine(nats.sum(axis=0), sizes)
    means = [float(s / c) if c else None for s, c in zip(level_sum, level_count, strict=True)]
    return CorpusScore(
        nats=total,
        nats_se=None if not causal and len(sizes) == 1 else se,
        n_tokens=count * length,
        window_nats_N=nats.mean(axis=1),
        token_nats_NT=token_nats,
        ce_by_level=None if causal else means,
        method="exact" if causal else WINDOWS,
        draws=0 if causal else draws,
        groups=0 if causal else len(sizes),
        seed=seed,
        is_bound=not causal,
        eos_first=eos_first,
        config_hash=config_hash(model),
        dtype=dtype_name(model.dtype),
    )


def _sequences(model: Model, windows_NT: np.ndarray, eos_first: bool) -> np.ndarray:
    """[N, 1 + scored]: the windows behind their one token of context, checked."""
    config = model.config
    if windows_NT.ndim != 2 or windows_NT.dtype.kind not in "iu" or windows_NT.size == 0:
        raise UserError(
            f"windows have shape {list(windows_NT.shape)} and type {windows_NT.dtype}; give whole numbers [N, T]"
        )
    if windows_NT.min() < 0 or windows_NT.max() >= config.vocab_size:
        raise UserError(f"windows hold token ids outside the vocabulary of {config.vocab_size}; is the data another's?")
    if model.mask_id is not None and (windows_NT == model.mask_id).any():
        raise UserError(f"windows hold the mask ({model.mask_id}); give clean tokens")
    windows_NT = windows_NT.astype(np.int64)
    if eos_first:
        if model.start_id is None:
            raise UserError("the model has no eos_id to put before the windows; use eos_first=False")
        windows_NT = np.insert(windows_NT, 0, model.start_id, axis=1)
    if not 2 <= windows_NT.shape[1] <= config.block_size:
        raise UserError(
            f"windows need {windows_NT.shape[1]} tokens with what precedes them; give 2 to {config.block_size}, "
            "the model's context"
        )
    return windows_NT


def _queries(sequences: np.ndarray, causal: bool, sizes: list[int], seed: int) -> Iterator[Query]:
    length = sequences.shape[1] - 1
    everything = np.arange(1, length + 1)
    starts = [uniforms(seed, WINDOW_KEY, 1, LEVEL_DRAW + g)[0] for g in range(len(sizes))]
    for item, ids in enumerate(sequences):
        if causal:
            yield Query(ids, everything[:0], everything, item=item)
            continue
        draw = 0
        for start, size in zip(starts, sizes, strict=True):
            for j in range(size):
                # Steps of the golden ratio: any stretch of windows and draws covers the levels evenly.
                t = (start + (item * size + j) * GOLDEN) % 1.0
                masked = 1 + fixed_mask(t, uniforms(seed, WINDOW_KEY + item, length, draw))
                yield Query(ids, masked, masked, 0, item, draw, length / len(masked))
                draw += 1
