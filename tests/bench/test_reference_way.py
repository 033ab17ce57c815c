"""The reference way to score: the same numbers as ours, so that a comparison of speed is one."""

from __future__ import annotations

import numpy as np
import pytest

import unmask
from unmask.bench.reference_way import batched_chain_everywhere, reference_bound, reference_chain
from unmask.likelihood import score
from unmask.likelihood.pairs import make_pairs
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=0)
    return unmask.load(save(tmp_path_factory.mktemp("m") / "mdm", Transformer(config, seed=1), tokenizer))


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
