"""D0: how long a run stands on the unigram's plateau before it learns what stands beside what.

    learned_at(read_records(run), entropy)      # tokens at which the training loss is first 0.5 nats below the unigram

A masked model spends its first tokens there (docs/scaling.md). Runs with fewer than a few times D0 tokens are bent by
it: the fit leaves them out by tokens, never by their final loss, which would select on the result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from unmask.data.shards import TokenData

BELOW = 0.5  # nats
SHARE, LEAST = 0.1, 32768  # of the tokens so far, and tokens: what the loss is averaged over
CHUNK = 1 << 22  # tokens read at once


def unigram_entropy(data: TokenData) -> float:
    """Of a split's tokens, in nats."""
    counts_V = np.zeros(data.vocab_size, dtype=np.int64)
    for start in range(0, data.n_tokens, CHUNK):
        counts_V += np.bincount(data.read(start, min(CHUNK, data.n_tokens - start)), minlength=data.vocab_size)
    shares = counts_V[counts_V > 0] / counts_V.sum()
    return float(-(shares * np.log(shares)).sum())


def learned_at(records: Iterable[dict[str, Any]], entropy: float) -> float | None:
    """Tokens in the middle of the first stretch whose mean loss is that low; None where there is none.

    records: of a run's metrics. A stretch is the last tenth of the tokens so far, at least 32,768, unless the run is
    not that long: its loss a step is that of a few sequences.
    """
    stretch: deque[tuple[float, float, float]] = deque()  # tokens before, tokens of it, loss
    before = 0.0
    for record in records:
        if record["kind"] != "train" or record.get("loss") is None:
            continue
        tokens = float(record["tokens"])
        stretch.append((before, tokens - before, float(record["loss"])))
        before = tokens
        wanted = max(LEAST, SHARE * tokens)
        while len(stretch) > 1 and tokens - stretch[1][0] >= wanted:
            stretch.popleft()
        weight = sum(part[1] for part in stretch)
        if weight < min(wanted, LEAST):
            continue
        if sum(part[1] * part[2] for part in stretch) / weight < entropy - BELOW:
            return (stretch[0][0] + tokens) / 2
    return None
