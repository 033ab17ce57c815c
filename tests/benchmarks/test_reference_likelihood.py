"""The reference way to score: the same numbers as ours, so that a comparison of speed is one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.reference_likelihood import batched_chain_everywhere, reference_bound, reference_chain
from unmask.likelihood import score
from unmask.likelihood.pairs import make_pairs
from unmask.model.folder import Model


def test_the_reference_estimates_the_same_number(model: Model) -> None:
    pairs = make_pairs(model, [("so it", " is"), ("", "We the")])
    exact = [-s.logprob for s in score(model, [("so it", " is"), ("", "We the")], method="exact")]
    for pair, nelbo in zip(pairs, exact, strict=True):
        found = np.array([reference_bound(model, pair, 64, seed) for seed in range(80)])
        assert abs(found.mean() - nelbo) < 4 * found.std() / np.sqrt(80)
    assert reference_bound(model, pairs[0], 40, 3) == reference_bound(model, pairs[0], 40, 3)


def test_all_chains_agree(model: Model) -> None:
    texts = [("so it", " is"), ("", "We the people"), ("The state of", " the")]
    pairs = make_pairs(model, texts)
    ours = [-s.logprob for s in score(model, texts, method="chain-rule")]
    assert [reference_chain(model, pair) for pair in pairs] == pytest.approx(ours, rel=1e-5)
    assert batched_chain_everywhere(model, pairs, 200).tolist() == pytest.approx(ours, rel=1e-5)
