"""FLOPs a token: exact counts read off the runs, and the rule 6 N D where they follow it."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.scaling.cost import Cost
from unmask.scaling.law import Law


def test_exact_costs_move_the_best_size_and_a_plateau_takes_tokens() -> None:
    law = Law(2.0, 100.0, 200.0, 0.3, 0.3)
    sizes = np.geomspace(1e4, 1e9, 12)
    cost = Cost.of_runs(1e12 * np.ones(12), sizes, 1e12 / (6 * sizes + 3e6))  # a head that costs as much as 0.5M
    assert not cost.six_nd and cost.to_dict()["rule"] == "exact"
    assert cost(sizes) == pytest.approx(6 * sizes + 3e6)
    assert cost.params(cost(3e6)) == pytest.approx(3e6)
    assert Cost.from_dict(cost.to_dict()) == pytest.approx(cost) or Cost.from_dict(cost.to_dict()).six_nd is False
    plain, exact = law.optimum(1e14, Cost()), law.optimum(1e14, cost)
    assert exact.params * exact.tokens < plain.params * plain.tokens and exact.loss > plain.loss
    late = Law(2.0, 100.0, 200.0, 0.3, 0.3, D0=1e6)
    assert late.optimum(1e14, cost).loss > exact.loss
    assert np.isnan(late.loss(1e6, 5e5))


def test_the_rule_6nd_is_seen_up_to_whole_steps() -> None:
    params = np.array([1e6, 2e6, 3e6])
    assert Cost.of_runs(6 * params * 1e9, params, np.array([1e9, 1.003e9, 0.997e9])).six_nd
