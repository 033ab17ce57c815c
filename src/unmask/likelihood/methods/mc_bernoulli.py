"""`mc-bernoulli`: the paper's estimator (arXiv 2410.18514, eps = 0) of the NELBO: each position masked with chance t.

    unmask score RUN TEXT --method mc-bernoulli --draws 128

t is uniform, CE / t counts. Its variance is infinite (a 1/t at few masks): its standard error, from stretches of draws
whose levels are evenly spaced, is a lower guess. Draws that mask nothing contribute 0 and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unmask.diffusion.noise import uniforms
from unmask.likelihood.method import Drawing, Method
from unmask.likelihood.queries import Query, group_sizes, stratified_levels


class Bernoulli(Method):
    usual = 128
    masks = True

    def groups(self, length: int, draws: int) -> list[int]:
        return group_sizes(draws, 4)

    def queries(self, whole: Query, order: str, seed: int, key: int, drawn: Drawing) -> Iterator[Query]:
        draw = drawn.first_draw
        for group, size in enumerate(drawn.sizes, drawn.first_group):
            for t in stratified_levels(seed, key, size, group):
                masked = np.flatnonzero(uniforms(seed, key, whole.length, draw) < t)
                if len(masked):
                    yield whole.part(masked, masked, draw, 1 / t)
                draw += 1


METHOD = Bernoulli()
