"""What a language model must beat: token frequencies, and a general-purpose compressor.

    unigram = Unigram.of(TokenData("runs/demo/data", "train"))
    unigram.nats(windows_NT).sum() / math.log(2) / n_bytes        # bits per byte of exactly these tokens
    xz(TokenData("runs/demo/data", "validation")).bits_per_byte

The unigram knows the training split's frequencies in the run's own tokenizer, each count plus one (Laplace). xz knows
nothing but the held-out text itself, and is given all of it at once, which is the most it can use.

Shapes: V vocabulary, N windows, T tokens.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass

import numpy as np

from unmask.data.shards import TokenData
from unmask.errors import UserError

CHUNK = 1 << 22  # tokens read at once


@dataclass(frozen=True)
class Unigram:
    """Negative log-probability, in nats, of every token of the vocabulary."""

    nats_V: np.ndarray

    @classmethod
    def of(cls, data: TokenData) -> Unigram:
        """Add-one frequencies of a split."""
        counts_V = np.zeros(data.vocab_size, dtype=np.int64)
        for start in range(0, data.n_tokens, CHUNK):
            tokens = data.read(start, min(CHUNK, data.n_tokens - start))
            counts_V += np.bincount(tokens, minlength=data.vocab_size)
        return cls.of_counts(counts_V)

    @classmethod
    def of_counts(cls, counts_V: np.ndarray) -> Unigram:
        smoothed_V = counts_V.astype(np.float64) + 1
        return cls(np.log(smoothed_V.sum()) - np.log(smoothed_V))

    def nats(self, tokens_NT: np.ndarray) -> np.ndarray:
        """[N] summed over each window."""
        nats_N: np.ndarray = self.nats_V[tokens_NT].sum(axis=-1)
        return nats_N


@dataclass(frozen=True)
class Compressed:
    """A text before and after compression."""

    n_bytes: int
    n_compressed: int

    @property
    def bits_per_byte(self) -> float:
        return 8 * self.n_compressed / self.n_bytes


def xz(data: TokenData) -> Compressed:
    """The text of a whole split (documents one behind the other) through xz at its strongest setting."""
    return xz_text(data.tokenizer().decode(data.read(0, data.n_tokens)))


def xz_text(text: str) -> Compressed:
    raw = text.encode("utf-8")
    if not raw:
        raise UserError("the held-out text is empty, so there is nothing to compress; hold out more documents")
    return Compressed(len(raw), len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)))
