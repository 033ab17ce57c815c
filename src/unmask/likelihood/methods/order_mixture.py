"""`order-mixture`: -log of the mean p over random orders; it falls towards that of all orders as their number grows.

    unmask score RUN TEXT --method order-mixture --draws 8

That is what an any-order sampler, a token a step, draws from; by Jensen's inequality no more than the NELBO.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from unmask.likelihood.method import Drawing, Method
from unmask.likelihood.queries import Query, along, random_order


class OrderMixture(Method):
    usual = 8

    def target(self, order: str) -> str:
        return "order-mixture"

    def queries(self, whole: Query, order: str, seed: int, key: int, drawn: Drawing) -> Iterator[Query]:
        for number in range(len(drawn.sizes)):
            order_L, start = random_order(seed, key, whole.length, drawn.first_group + number, drawn.stride)
            yield from along(whole, order_L, drawn.stride, start, drawn.first_draw + number)

    def estimate(self, nats: np.ndarray, sizes: list[int]) -> tuple[float, float]:
        return combine_mixture(nats)


def combine_mixture(nats: np.ndarray) -> tuple[float, float]:
    """-log of the mean of exp(-nats) over independent orders and, to first order, its standard error."""
    least = float(nats.min())
    p = np.exp(least - nats)
    return least - math.log(p.mean()), float(p.std(ddof=1) / p.mean() / math.sqrt(len(p)))


METHOD = OrderMixture()
