"""The engine and the likelihood over weights of other makes: a mask within the vocabulary, predictions shifted by one.

A mask within the vocabulary is the same model with its tokens renumbered, so that it must write and score the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import unmask
from unmask.decoding import infill
from unmask.likelihood import corpus_bound
from unmask.likelihood.guided import guided_scores
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer
from unmask.model.visibility import block_causal

SHAPE: dict[str, Any] = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 32, "eos_id": 0}
V, MASK = 11, 4
PROMPTS = [[1, 5, 9, 3], [7], [2, 8, 10, 6, 1, 4]]


def louder(network: Transformer) -> Transformer:
    """So that context matters."""
    for weight in network.parameters():
        weight.data *= 3 if weight.ndim == 2 else 1
    return network.eval().requires_grad_(False)


def moved(ids: Any) -> Any:
    """Token ids in the vocabulary where the mask is token MASK."""
    found = np.asarray(ids)
    found = np.where(found == V, MASK, found + (found >= MASK))
    return found if isinstance(ids, np.ndarray) else found.tolist()


@pytest.fixture(scope="module", params=[False, True], ids=["in place", "shifted"])
def models(request: pytest.FixtureRequest) -> tuple[Model, Model]:
    """One with its mask behind the vocabulary, and the same with it inside, where its head likes it best of all."""
    apart = louder(Transformer(ModelConfig(vocab_size=V, shift=request.param, **SHAPE), seed=2))
    within = Transformer(ModelConfig(vocab_size=V + 1, mask=MASK, shift=request.param, **SHAPE), seed=3)
    state = apart.state_dict()
    where = torch.tensor(moved(list(range(V + 1))))
    table = torch.empty_like(state["embedding.weight"]).index_copy(0, where, state["embedding.weight"])
    head = 9 * within.output.weight.detach().index_copy(0, where[:V], state["output.weight"] / 9)
    within.load_state_dict({**state, "embedding.weight": table, "output.weight": head})
    within = within.eval().requires_grad_(False)
    tokens_BT = torch.tensor([[1, V, 9, V, V, 3]])
    ours, theirs = apart(tokens_BT), within(torch.tensor(moved(tokens_BT.tolist())))
    torch.testing.assert_close(theirs[..., where[:V]], ours, atol=1e-5, rtol=1e-5)
    assert (theirs.argmax(-1) == MASK).any(), "which nobody may write"
    return Model(apart), Model(within)


@pytest.mark.parametrize(
    "options",
    [
        {"order": "confidence"},
        {"order": "entropy", "temperature": 1.0, "top_p": 0.9},
        {"order": "random", "temperature": 1.0, "top_k": 3, "guidance": 0.7},
        {"order": "margin", "block": 4, "cache": "dual", "guidance": 0.5},
        {"order": "confidence", "block": 4, "cache": "prefix", "temperature": 0.7},
        {"order": "confidence", "revise": "remdm-cap:0.2", "temperature": 1.0, "cache": "reuse", "guidance": 1},
        {"order": "random", "guidance_mode": "drop", "guidance": 1.5},
    ],
    ids=str,
)
def test_a_mask_within_the_vocabulary_writes_the_same(models: tuple[Model, Model], options: dict[str, Any]) -> None:
    apart, within = models
    ours = unmask.generate(apart, PROMPTS, length=12, steps=8, seed=4, **options)
    theirs = unmask.generate(within, moved_all(PROMPTS), length=12, steps=8, seed=4, **options)
    assert [g.tokens for g in theirs] == [moved(g.tokens) for g in ours]
    assert [g.nfe for g in theirs] == [g.nfe for g in ours]
    assert all(MASK not in g.tokens for g in theirs)


def moved_all(rows: list[list[int]]) -> list[list[int]]:
    return [moved(row) for row in rows]


def test_its_blanks_are_filled(models: tuple[Model, Model]) -> None:
    apart, within = models
    rows = [[1, V, V, 6, V, 3], [V, 2, V]]
    ours, theirs = infill(apart, rows, seed=1), infill(within, moved_all(rows), seed=1)
    assert [g.canvas for g in theirs] == [moved(g.canvas) for g in ours]
    with pytest.raises(unmask.UserError, match="has no blank and length is 0"):
        infill(within, [[1, 2, 3]])


# By enumeration: what is drawn is drawn by the tokens, which have other numbers.
@pytest.mark.parametrize("how", [{"method": "exact"}, {"method": "chain-rule"}, {"method": "exact", "guidance": 1.0}])
def test_a_mask_within_the_vocabulary_scores_the_same(models: tuple[Model, Model], how: dict[str, Any]) -> None:
    apart, within = models
    texts = [([1, 5], [9, 3, 3]), ([], [7, 8, 2, 2, 10, 0])]
    ours = unmask.score(apart, texts, **how)
    theirs = unmask.score(within, [tuple(moved_all(pair)) for pair in texts], **how)
    assert [s.logprob for s in theirs] == pytest.approx([s.logprob for s in ours], rel=1e-4)


def test_other_likelihoods_too(models: tuple[Model, Model]) -> None:
    apart, within = models
    pairs = [([1, 5], [9, 3, 3]), ([6, 2, 2], [8])]
    theirs = [tuple(moved_all(pair)) for pair in pairs]
    windows_NT = np.random.default_rng(0).integers(V, size=(4, 9))
    found = []
    for model, texts, windows in ((apart, pairs, windows_NT), (within, theirs, moved(windows_NT))):
        guided = [nats for score in guided_scores(model, texts, (0.5, 2.0), draws=8) for nats in score.nats_W]
        found.append([*guided, corpus_bound(model, windows, draws=3).nats])
        found.append([token for answer in unmask.greedy(model, texts, whole=True) for token in answer.tokens or []])
    np.testing.assert_allclose(found[2], found[0], rtol=1e-4)
    assert found[3] == moved(found[1])


def test_what_is_scored_is_no_mask(models: tuple[Model, Model]) -> None:
    within = models[1]
    with pytest.raises(unmask.UserError, match=r"pair 0: the continuation holds the mask \(4\); give clean tokens"):
        unmask.score(within, [([1], [2, MASK])])
    with pytest.raises(unmask.UserError, match=r"windows hold the mask \(4\); give clean tokens"):
        corpus_bound(within, np.array([[1, MASK, 2]]))


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_windows_of_one_layer_are_exact(cache: str, shift: bool) -> None:
    """A single layer's keys and values depend on the token in their place alone, so that none goes stale."""
    network = Transformer(ModelConfig(vocab_size=V, shift=shift, **{**SHAPE, "n_layer": 1}), seed=5)
    model = Model(louder(network))
    options: dict[str, Any] = {"length": 12, "block": 4, "steps": 9, "order": "confidence", "seed": 1}
    for prompts, guidance in ((PROMPTS, 0.5), ([None, [3, 1]], 0.0)):
        how = {**options, "guidance": guidance}
        plain, cached = (unmask.generate(model, prompts, cache=name, **how) for name in ("none", cache))
        assert [g.tokens for g in cached] == [g.tokens for g in plain]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_windows_are_exact_where_attention_goes_block_by_block(cache: str, shift: bool) -> None:
    """A network that sees its own block and those before it: what is kept of them does not go stale."""
    network = louder(Transformer(ModelConfig(vocab_size=V, shift=shift, **{**SHAPE, "n_layer": 3}), seed=7))
    options: dict[str, Any] = {"length": 12, "block": 4, "steps": 9, "order": "confidence", "guidance": 0.5, "seed": 1}
    prompts = [[1, 5, 9, 3], [2, 8, 10, 6, 1, 4, 7, 7]]
    free = unmask.generate(Model(network), prompts, **options)
    network.sees = block_causal(4)
    plain, cached = (unmask.generate(Model(network), prompts, cache=name, **options) for name in ("none", cache))
    assert [g.tokens for g in cached] == [g.tokens for g in plain] != [g.tokens for g in free]


def test_a_shifted_model_by_hand() -> None:
    """Token by token from left to right: each is the likeliest by the state before it."""
    network = louder(Transformer(ModelConfig(vocab_size=V, shift=True, **SHAPE), seed=6))
    other = Transformer(ModelConfig(vocab_size=V, **SHAPE)).eval()
    other.load_state_dict(network.state_dict())
    row = [5, 2, 8, *[V] * 5]
    logp = 0.0
    for place in range(3, 8):
        with torch.no_grad():
            log_V = other(torch.tensor([row]))[0, place - 1].log_softmax(-1)
        row[place] = int(log_V.argmax())
        logp += float(log_V.max())
    rules: dict[str, Any] = {"order": "left-to-right", "quota": "even", "steps": 5, "temperature": 0}
    found = unmask.generate(Model(network), [row[:3]], length=5, **rules)[0]
    assert found.tokens == row[3:]
    scored = unmask.score(Model(network), [(row[:3], row[3:])], method="chain-rule")[0]
    assert scored.logprob == pytest.approx(logp, abs=1e-4)
