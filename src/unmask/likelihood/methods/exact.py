"""`exact`: the NELBO by all masks there are.

    unmask score RUN "A few words" --method exact

A set of k masked positions occurs in 1/C(L,k) of the orders and the next token is any of the k, so its CE weighs
1/(k C(L,k)): 2^L - 1 passes, for L up to 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from unmask.errors import UserError
from unmask.likelihood.method import Drawing, Method
from unmask.likelihood.queries import Query

EXACT_LIMIT = 12


class Exact(Method):
    def queries(self, whole: Query, order: str, seed: int, key: int, drawn: Drawing) -> Iterator[Query]:
        length = whole.length
        if length > EXACT_LIMIT:
            raise UserError(
                f"method 'exact' runs 2^L - 1 passes and stops at L = {EXACT_LIMIT} tokens, here are {length}; "
                "use mc-fixed"
            )
        for subset in range(1, 1 << length):
            masked = np.flatnonzero([subset >> i & 1 for i in range(length)])
            yield whole.part(masked, masked, subset - 1, 1 / (len(masked) * math.comb(length, len(masked))))


METHOD = Exact()
