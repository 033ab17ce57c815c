"""Replays are decoding: what `generate` has written gets the positions and probabilities that it was written with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unmask.decoding import generate
from unmask.decoding.rules.orders import ORDERS
from unmask.decoding.rules.quotas import QUOTAS
from unmask.errors import UserError
from unmask.likelihood.pairs import make_pairs
from unmask.likelihood.replay import replay, settled
from unmask.model.folder import Model

WAYS: list[dict[str, Any]] = [
    {"order": "margin", "quota": "even", "steps": 3},
    {"order": "entropy", "quota": "threshold:0.4"},
    {"order": "left-to-right", "quota": "paper", "steps": 6, "block": 3},
    {"order": "dilated", "quota": "even", "guidance": 0.7, "eligible": "block:4"},
    {"order": "margin", "quota": "klass:threshold=0.2,kl=0.5,history=1", "cache": "reuse"},
    {"order": "entropy", "quota": "entropy-bounded:0.8", "cache": "dual", "block": 4, "guidance": 0.5},
]
CONTEXTS = [[], [1, 2], [3], [4, 0, 2, 1]]


@pytest.mark.filterwarnings("ignore:guidance has no effect")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way['order']}-{way['quota']}")
@pytest.mark.parametrize("batch_tokens", [1, 40, None])
def test_a_text_of_the_decoders_own_is_written_as_it_was(make_model, way: dict[str, Any], batch_tokens) -> None:
    model = make_model(vocab_size=7, seed=4)
    written = generate(model, CONTEXTS, length=[5, 8, 6, 7], seed=5, **way)
    pairs = make_pairs(model, [(context, g.tokens) for context, g in zip(CONTEXTS, written, strict=True)])
    found = dict(replay(model, pairs, way, batch_tokens))
    assert sorted(found) == [0, 1, 2, 3]
    for item, g in enumerate(written):
        assert np.exp(-found[item].nats_L) == pytest.approx(g.probabilities, abs=1e-6)
        assert found[item].tokens_L.tolist() == g.tokens and found[item].passes == g.nfe


def test_options_of_each_pair_and_the_models_defaults(mdm: Model) -> None:
    mdm = Model(mdm.network, defaults={"order": "random", "steps": 1})
    pairs = make_pairs(mdm, [([1], [2, 1, 0, 2]), ([2], [2, 1, 0, 2])])
    rules = {"order": "left-to-right", "quota": "even"}
    found = dict(replay(mdm, pairs, [{**rules, "steps": 4}, {**rules, "steps": 2, "guidance": 1.0}]))
    assert [found[item].passes for item in (0, 1)] == [4, 4], "a guided pass counts twice"


def test_a_strict_replay_ends_at_the_first_token_of_another(mdm: Model) -> None:
    rules = {"order": "confidence", "quota": "even", "temperature": 0.0}
    (own,) = generate(mdm, [[1]], length=6, steps=6, **rules)
    last = own.trace[-1]["position"] - 1  # behind the prompt's one token
    pairs = make_pairs(mdm, [([1], own.tokens), ([1], [(token + 1) % 3 for token in own.tokens])])
    found = dict(replay(mdm, pairs, {**rules, "steps": 6}, strict=True))
    assert (found[0].odds, found[0].passes) == (0, 6)
    assert (found[1].odds, found[1].passes) == (1, 1)
    assert found[0].nats_L[last] > 0 and found[1].nats_L[last] == 0


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_whose_positions_another_seed_changes_says_so(make_model, order: str) -> None:
    """At temperature 0 only noise tells two seeds apart; above it the tokens drawn do."""
    model, of = make_model(vocab_size=7, seed=4), ORDERS[order]()
    options: dict[str, Any] = {"order": order, "length": 12, "temperature": 0.0}
    if not of.own_quota:
        options |= {"quota": "even", "steps": 12}
    runs = [generate(model, [[1, 2]], seed=seed, **options)[0] for seed in range(4)]
    orders = {tuple(event["position"] for event in run.trace) for run in runs}
    assert (len(orders) > 1) == of.chance


def test_what_is_drawn_or_taken_back_is_refused() -> None:
    for options, line in (
        ({"order": "random"}, "decode: order 'random' draws positions; give one that follows from what stands in"),
        ({"order": "ancestral"}, "decode: order 'ancestral' draws positions"),
        ({"order": "first-hitting"}, "decode: order 'first-hitting' draws positions"),
        ({"order": "confidence"}, "order 'confidence' looks at the tokens that are drawn; .* such as top-probability"),
        ({"order": "margin", "revise": "p2"}, "decode: revise takes tokens back"),
        ({"order": "margin", "order_noise": 0.5}, "decode: order_noise makes the order of positions random"),
        ({"order": "margin", "top_p": 0.9}, "decode: top_p leaves tokens out"),
        ({"order": "margin", "temperature": 0}, "decode: temperature is 0"),
        ({"order": "margin", "pattern": "a"}, "decode: 'pattern' is unknown"),
        ({"ordr": "margin"}, r"decode: 'ordr' is unknown \(did you mean 'order'"),
        ({"order": "margni"}, "order 'margni' is unknown"),
    ):
        with pytest.raises(UserError, match=line):
            settled(options)
    for quota in QUOTAS:
        settled({"order": "margin", "quota": quota, "block": 4, "temperature": 0.5})
