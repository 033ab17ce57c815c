"""The arms of `unmask bench train` compute what ours does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmask.bench.train.arms import llama
from unmask.model.config import ModelConfig
from unmask.model.flops import StepCost, training_flops_per_token
from unmask.model.transformer import Transformer


@pytest.mark.parametrize("causal", [False, True])
def test_llama_sees_both_directions_where_ours_does(causal):
    pytest.importorskip("transformers")
    config = ModelConfig(
        n_layer=2, n_head=4, n_kv_head=2, n_embd=32, vocab_size=50, block_size=16, causal=causal, norm_eps=1e-5
    )
    ours = Transformer(config, seed=0)
    theirs = llama(config, ours)
    tokens_BT = torch.arange(32).reshape(2, 16) % 50
    changed_BT = tokens_BT.clone()
    changed_BT[:, -1] = 49
    with torch.no_grad():
        logits_BTV = theirs(tokens_BT).logits
        torch.testing.assert_close(logits_BTV, ours(tokens_BT), rtol=1e-4, atol=1e-5)
        first_moves = not torch.equal(theirs(changed_BT).logits[:, 0], logits_BTV[:, 0])
    assert first_moves != causal


@pytest.mark.parametrize("kind", ["mdm", "arm"])
@pytest.mark.parametrize("other", ["plain", "transformers"])
def test_arms_train_the_same_model(arm_of, kind, other):
    """20 steps at a high rate, sequences of unequal length among them: the losses stay together, and fall."""
    if other == "transformers":
        pytest.importorskip("transformers")
    ours, theirs = arm_of("ours", kind=kind), arm_of(other, kind=kind)
    a, b = ([arm.step(step) for step in range(20)] for arm in (ours, theirs))
    assert a == pytest.approx(b, rel=2e-3)
    assert a[0] == pytest.approx(b[0], rel=1e-5)
    assert np.mean(a[-5:]) < np.mean(a[:5])
    assert ours.tally.tokens == theirs.tally.tokens
    assert ours.tally.flops == theirs.tally.flops


def test_needed_flops_are_those_of_a_step_on_average(arm_of):
    """Counted from the masks at hand, they agree with the expectation; a budget's rule counts whole layers."""
    arm = arm_of("ours", random_length=0.0, batch_size=64)
    for _ in range(2):
        arm.step(_)
    share = arm.recipe.objective.head_share(32)
    expected = StepCost(arm.config).of(1, 32, share * 32) / 32
    assert arm.tally.tokens == 2 * 64 * 32
    assert arm.tally.flops / arm.tally.tokens == pytest.approx(expected, rel=0.02)
    assert expected < training_flops_per_token(arm.config, 32, share)
