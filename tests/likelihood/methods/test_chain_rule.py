"""The tokens one by one."""

from __future__ import annotations

import numpy as np

from unmask.likelihood.method import Drawing
from unmask.likelihood.methods.chain_rule import METHOD
from unmask.likelihood.queries import Query


def test_each_token_is_asked_for_behind_those_before_it() -> None:
    everything = np.arange(4)
    for order, walked in (("left-to-right", [0, 1, 2, 3]), ("right-to-left", [3, 2, 1, 0])):
        found = list(METHOD.queries(Query(everything, everything, everything), order, 0, 0, Drawing([1])))
        assert [query.scored.tolist() for query in found] == [[place] for place in walked]
        assert [set(query.masked.tolist()) for query in found] == [set(walked[step:]) for step in range(4)]
    assert METHOD.sampled("random") and METHOD.target("random") == "nelbo" and METHOD.target("left-to-right") == "chain"
