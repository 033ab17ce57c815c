"""The shared E rests on this: with exact conditionals the bound of a masked model is the entropy, and no less."""

from __future__ import annotations

import itertools

import numpy as np

import unmask
from decoding.oracle import Chain, oracle

LENGTH = 4


def expected_loss(truth: Chain, believed: Chain) -> float:
    """The exact bound of a model that believes in one chain, under text of another, nats a text, by enumeration."""
    texts = np.array(list(itertools.product(range(truth.size), repeat=LENGTH)))
    scores = unmask.score(oracle(believed, context=8), [([], text.tolist()) for text in texts], method="exact")
    assert all(score.is_bound and score.target == "nelbo" for score in scores)
    return -float(np.exp(truth.log_probabilities(texts)) @ [score.logprob for score in scores])


def entropy(chain: Chain) -> float:
    texts = np.array(list(itertools.product(range(chain.size), repeat=LENGTH)))
    log_p = chain.log_probabilities(texts)
    return -float(np.exp(log_p) @ log_p)


def test_the_bound_of_exact_conditionals_is_the_entropy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        chain = Chain(rng.dirichlet(np.ones(3), 3))
        assert abs(expected_loss(chain, chain) - entropy(chain)) < 1e-6


def test_any_other_conditionals_are_above_it() -> None:
    rng = np.random.default_rng(1)
    truth = Chain(rng.dirichlet(np.ones(3), 3))
    for share in (0.05, 0.3, 1.0):
        other = Chain((1 - share) * truth.transition_VV + share * rng.dirichlet(np.ones(3), 3))
        assert expected_loss(truth, other) > entropy(truth) + 1e-5
