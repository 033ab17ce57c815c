"""A query of a whole text, and its parts."""

from __future__ import annotations

import numpy as np

from unmask.likelihood.pairs import Pair
from unmask.likelihood.queries import Query, along


def test_parts_of_a_text_by_places_behind_its_context() -> None:
    pair = Pair(np.array([9, 8, 5, 6, 7]), 2, 2, None, 0)
    whole = Query.of(pair, item=4)
    assert whole.masked.tolist() == whole.scored.tolist() == [2, 3, 4] and (whole.length, whole.prompt) == (3, 2)
    part = whole.part(np.array([0, 2]), np.array([2]), draw=5, weight=3.0)
    assert (part.masked.tolist(), part.scored.tolist()) == ([2, 4], [4])
    assert (part.item, part.draw, part.weight, part.prompt, part.is_baseline) == (4, 5, 3.0, 2, False)
    assert not len(Query.of(pair, causal=True).masked)


def test_an_order_is_followed_in_strides() -> None:
    whole = Query.of(Pair(np.arange(6), 1, 1, None, 0))
    found = list(along(whole, np.array([4, 0, 3, 1, 2]), 2, 1, 0))
    assert [query.scored.tolist() for query in found] == [[1, 4], [2, 3]]
    assert [query.masked.tolist() for query in found] == [[1, 2, 3, 4], [2, 3]]
    assert [query.weight for query in found] == [1.0, 1.0]
