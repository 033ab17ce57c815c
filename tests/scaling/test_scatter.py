"""The scatter of runs about their parabolas."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.synthetic import sweep
from unmask.scaling.cost import Cost
from unmask.scaling.isoflop import fit_parabolas
from unmask.scaling.scatter import scatter_of


def test_scatter_tells_seeds_from_sizes() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        runs, _ = sweep("arm", rng, 0.010, shape=0.02)
        minima = fit_parabolas(runs.flops, runs.params, runs.loss, Cost())
        assert minima is not None
        found.append(scatter_of(runs, minima))
    assert np.sqrt(np.mean([s.seed**2 for s in found])) == pytest.approx(0.010, rel=0.1)
    assert np.sqrt(np.mean([s.size**2 for s in found])) == pytest.approx(0.02, rel=0.35)
    assert all(s.seed_free == 30 for s in found)
