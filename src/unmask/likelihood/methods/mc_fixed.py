"""`mc-fixed`: fixed counts of masks along random orders; the NELBO, unbiased, with an honest error.

    unmask score RUN TEXT --draws 128

One order of revealing the tokens is followed in strides of b tokens from a random start; where k are still masked, the
next b are asked for, and their mean CE times b counts. So every count is met evenly and every token is asked for about
once. b = 1 is the chain rule in random order, b = L one mask with L/k * CE; b follows from the draws. For b > 1 one
more pass with everything masked gives each token a baseline: what is drawn is only how much the others tell about it,
CE minus baseline, and the sum of the baselines is added. That is as unbiased, since every token's weights are 1 on
average. Two draws are two masks and no baseline. Where all masks there are, 2^L - 1, are no more than the draws, they
are run instead: `exact`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unmask.likelihood.method import Drawing, Method
from unmask.likelihood.methods.exact import EXACT_LIMIT
from unmask.likelihood.queries import Query, along, random_order

# Orders of few draws: one for each 8 passes, since following an order closely gains more than another order does; at
# least 2, so that there is an error, and no more than 8 before every order is followed token by token.
PASSES_PER_ORDER, LEAST_ORDERS, ENOUGH_ORDERS = 8, 2, 8


class FixedCounts(Method):
    usual = 128
    masks = True

    def enough(self, length: int, draws: int) -> str | None:
        return "exact" if length <= EXACT_LIMIT and (1 << length) - 1 <= draws else None

    def stride(self, length: int, draws: int) -> int:
        orders = min(ENOUGH_ORDERS, max(LEAST_ORDERS, draws // PASSES_PER_ORDER))
        closely = -(-length // min(length, max(1, draws // orders)))
        return closely if closely == 1 else -(-length // max(1, (draws - 1) // orders))

    def groups(self, length: int, draws: int) -> list[int]:
        stride = self.stride(length, draws)
        return [1] * ((draws - has_baseline(stride, draws)) // -(-length // stride))

    def queries(self, whole: Query, order: str, seed: int, key: int, drawn: Drawing) -> Iterator[Query]:
        everything = np.arange(whole.length)
        if has_baseline(drawn.stride, drawn.draws) and not drawn.first_group:
            yield whole.part(everything, everything, 0, 0.0, is_baseline=True)
        for number in range(len(drawn.sizes)):
            order_L, start = random_order(seed, key, whole.length, drawn.first_group + number, drawn.stride)
            yield from along(whole, order_L, drawn.stride, start, drawn.first_draw + number)


def has_baseline(stride: int, draws: int) -> bool:
    """Whether a pass is spent on a baseline: a third of three draws, and more than there is of two."""
    return stride > 1 and draws > LEAST_ORDERS


METHOD = FixedCounts()
