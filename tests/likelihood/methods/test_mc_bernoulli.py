"""Bernoulli masks: each weighs one over its level, and empty ones are left out."""

from __future__ import annotations

import numpy as np

from unmask.likelihood.method import Drawing
from unmask.likelihood.methods.mc_bernoulli import METHOD
from unmask.likelihood.queries import Query


def test_a_mask_weighs_one_over_its_level() -> None:
    everything = np.arange(50)
    whole = Query(everything, everything, everything)
    found = list(METHOD.queries(whole, "left-to-right", 1, 2, Drawing([16, 16], 1, 32)))
    assert len({query.draw for query in found}) == len(found) <= 32
    for query in found:
        assert len(query.masked) and query.masked.tolist() == query.scored.tolist()
    shares = np.array([len(query.masked) / 50 for query in found])
    assert np.abs(shares - [1 / query.weight for query in found]).max() < 0.3
