"""Uniform-noise re-noising: its law by enumeration on the oracle, and what open positions show, pass by pass."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from decoding.oracle import UNEVEN, Oracle, oracle
from decoding.theory import Law, Predict, State, chain_predictor, chi_square, distance, fill_in, joint
from unmask.cli import main
from unmask.decoding import generate
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.transformer import Transformer

V = UNEVEN.size
MODEL = oracle(UNEVEN, context=32)


def law(length: int, steps: list[int], share: float) -> Law:
    """Left to right, so many positions a step; before each, noise at every open position (the mask being V)."""
    predict: Predict = chain_predictor(UNEVEN, length)
    shown = {V: 1 - share} if share < 1 else {}
    shown |= dict.fromkeys(range(V), share / V) if share else {}
    now: Law = {(V,) * length: 1.0}
    for count in steps:
        after: Law = {}
        for state, weight in now.items():
            left = [i for i, token in enumerate(state) if token == V]
            for noise in itertools.product(shown, repeat=len(left)):
                chance = weight
                for token in noise:
                    chance *= shown[token]
                p_LV = predict(fill_in(state, left, noise))
                for tokens, probability in joint(p_LV, left[:count]):
                    new: State = fill_in(state, left[:count], tokens)
                    after[new] = after.get(new, 0.0) + chance * probability
        now = after
    return now


@pytest.mark.parametrize(
    ("steps", "share"), [([1, 1, 1], 1.0), ([2, 1], 1.0), ([3], 1.0), ([2, 1], 0.5), ([1, 1, 1], 0.0)]
)
def test_its_law_is_the_enumerated_one(steps: list[int], share: float) -> None:
    exact = law(3, steps, share)
    assert sum(exact.values()) == pytest.approx(1)
    options: dict[str, Any] = {"order": "left-to-right", "quota": "even", "length": 3, "steps": len(steps)}
    rows = generate(MODEL, [None] * 4000, revise=f"renoise:{share}", seed=11, trace=False, **options)
    statistic, critical = chi_square([g.tokens for g in rows], exact)
    assert statistic < critical
    if share == 0:
        plain = generate(MODEL, [None] * 50, seed=11, trace=False, **options)
        assert [g.tokens for g in plain] == [g.tokens for g in rows[:50]], "all masks: the plain sampler"
    else:
        assert distance(exact, law(3, steps, 0.0)) > 0.02, "noise has a law of its own"
        statistic, critical = chi_square([g.tokens for g in rows], law(3, steps, 0.0))
        assert statistic > critical, "and the test would tell"


def shown(monkeypatch: pytest.MonkeyPatch, model: Model, **options: Any) -> list[torch.Tensor]:
    """The tokens of every pass."""
    passes: list[torch.Tensor] = []
    whole = Oracle.hidden

    def seen(self: Oracle, tokens_BT: torch.Tensor, **more: Any) -> torch.Tensor:
        passes.append(tokens_BT.clone())
        return whole(self, tokens_BT, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Oracle, "hidden", seen)
        generate(model, **options)
    return passes


def test_open_positions_show_other_noise_each_step_and_written_ones_their_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"prompts": [[1, 0]], "length": 12, "order": "left-to-right", "quota": "even", "seed": 2}
    passes = shown(monkeypatch, MODEL, revise="renoise", **options)
    (g,) = generate(MODEL, revise="renoise", **options)
    assert len(passes) == 12 and all(int(tokens.max()) < V for tokens in passes)
    for step, tokens in enumerate(passes):
        assert tokens[0, : 2 + step].tolist() == g.canvas[: 2 + step]
    assert len({tuple(tokens[0, 8:].tolist()) for tokens in passes[:6]}) > 1, "new ones each step"
    half = shown(monkeypatch, MODEL, revise="renoise:0.5", **options)
    masks = sum(int((tokens == V).sum()) for tokens in half)
    assert 20 < masks < 60, "about half of 78"
    blocks = shown(monkeypatch, MODEL, revise="renoise", block=4, **options)
    assert (blocks[0][0, 6:] == V).all() and (blocks[0][0, :6] < V).all(), "later blocks show the mask"


def test_a_row_shows_the_same_noise_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"length": 7, "order": "confidence", "quota": "even", "revise": "renoise:0.7"}
    together = shown(monkeypatch, MODEL, prompts=[[1], [2, 2]], seed=[(3, 1), (4, 0)], **options)
    alone = shown(monkeypatch, MODEL, prompts=[[2, 2]], seed=[(4, 0)], **options)
    assert [tokens[1].tolist() for tokens in together] == [tokens[0].tolist() for tokens in alone]


@pytest.mark.parametrize("bad", ["-0.1", "1.5", "much"])
def test_a_bad_share(bad: str) -> None:
    with pytest.raises(UserError, match=rf"revise renoise: share is {bad}; give a number in \[0, 1\]"):
        generate(MODEL, [[1]], length=4, revise=f"renoise:{bad}")


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a mask within the vocabulary, which noise never is."""
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=5, block_size=32, mask=2)
    folder = save(tmp_path / "mdm", Transformer(config, seed=0))
    words = ["sample", str(folder), "--ids", "1 3", "--length", "8", "--revise", "renoise:0.9", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    (row,) = json.loads(capsys.readouterr().out)
    assert not ended.value.code and 2 not in row["canvas"] and row["settings"]["revise"] == "renoise:0.9"
