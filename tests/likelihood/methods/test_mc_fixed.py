"""Strides along random orders, and when they are not worth it."""

from __future__ import annotations

import numpy as np

from unmask.likelihood.method import Drawing
from unmask.likelihood.methods.mc_fixed import METHOD, has_baseline
from unmask.likelihood.queries import Query


def test_all_masks_are_run_where_they_cost_no_more() -> None:
    assert METHOD.enough(3, 7) == "exact" and METHOD.enough(3, 6) is None and METHOD.enough(13, 1 << 20) is None


def test_a_baseline_is_the_first_pass_of_the_first_group_alone() -> None:
    everything = np.arange(6)
    whole = Query(everything, everything, everything)
    for first, expected in ((0, 1), (1, 0)):
        drawn = Drawing([1, 1], 2, 8, first, first)
        found = list(METHOD.queries(whole, "left-to-right", 0, 3, drawn))
        assert sum(query.is_baseline for query in found) == expected
    assert not has_baseline(1, 99) and not has_baseline(3, 2) and has_baseline(3, 3)
