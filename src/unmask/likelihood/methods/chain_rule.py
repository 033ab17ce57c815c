"""`chain-rule`: the tokens one by one, each given those before it in an order.

    unmask score RUN TEXT --method chain-rule --order random --draws 8

left-to-right (the paper's, arXiv 2410.18514) and right-to-left are -log p of one order, L passes, exact for the decoder
that follows it; random is the NELBO, unbiased, L passes an order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unmask.likelihood.method import FIRST, Drawing, Method
from unmask.likelihood.queries import Query, along, random_order


class ChainRule(Method):
    orders = (FIRST, "right-to-left", "random")
    usual = 8

    def sampled(self, order: str) -> bool:
        return order == "random"

    def target(self, order: str) -> str:
        return "nelbo" if order == "random" else "chain"

    def queries(self, whole: Query, order: str, seed: int, key: int, drawn: Drawing) -> Iterator[Query]:
        forward = np.arange(whole.length)
        if order != "random":
            yield from along(whole, forward if order == FIRST else forward[::-1], 1, 0, 0)
            return
        for number in range(len(drawn.sizes)):
            order_L, start = random_order(seed, key, whole.length, drawn.first_group + number, drawn.stride)
            yield from along(whole, order_L, drawn.stride, start, drawn.first_draw + number)


METHOD = ChainRule()
