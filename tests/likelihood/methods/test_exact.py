"""All masks there are, weighed so that every token counts once."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.errors import UserError
from unmask.likelihood.method import Drawing
from unmask.likelihood.methods.exact import EXACT_LIMIT, METHOD
from unmask.likelihood.queries import Query


def whole(length: int) -> Query:
    everything = np.arange(length)
    return Query(everything, everything, everything)


def test_every_token_counts_once() -> None:
    weight = np.zeros(5)
    for query in METHOD.queries(whole(5), "left-to-right", 0, 0, Drawing()):
        weight[query.scored] += query.weight
    assert weight == pytest.approx(np.ones(5))


def test_a_long_text_is_refused() -> None:
    with pytest.raises(UserError, match="method 'exact' runs 2\\^L - 1 passes and stops at L = 12"):
        list(METHOD.queries(whole(EXACT_LIMIT + 1), "left-to-right", 0, 0, Drawing()))
