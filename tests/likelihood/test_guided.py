"""Scores by guidance at many scales from one pair of passes, against `score` at each scale and sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.likelihood import score
from unmask.likelihood.guided import guided_scores, nats_by_scale
from unmask.model.folder import Model

PAIRS = [([1, 2], [2, 0, 1]), ([1, 2], [1, 1, 0]), ([2], [0, 2, 1, 1, 2, 0, 0, 1, 2, 1]), ([1, 0, 1], [2])]
SCALES = (0.5, 1.0, -0.3)


@pytest.mark.parametrize("draws", [2, 8, 16])
def test_each_scale_is_what_score_gives_under_the_same_masks(mdm: Model, draws: int) -> None:
    found = guided_scores(mdm, PAIRS, SCALES, draws=draws, seed=3)
    for w, scale in enumerate((0.0, *SCALES)):
        alone = score(mdm, PAIRS, guidance=scale, draws=draws, seed=3)
        nats = [one.seen if w == 0 else one.nats_W[w - 1] for one in found]
        np.testing.assert_allclose(nats, [-one.logprob for one in alone], rtol=1e-4, atol=1e-4)


def test_without_the_prompt_the_score_is_that_of_a_masked_prompt(mdm: Model) -> None:
    mask = mdm.mask_id
    assert mask is not None
    found = guided_scores(mdm, PAIRS[:2], SCALES, draws=16)
    for one, (context, answer) in zip(found, PAIRS, strict=False):
        (alone,) = score(mdm, [([mask] * len(context), answer)], method="exact")
        assert one.blind == pytest.approx(-alone.logprob, rel=1e-4)  # 7 masks of three tokens are fewer than 16 draws
        assert one.pmi(0.5) == pytest.approx(one.seen - 0.5 * one.blind)
        assert one.seen_twice == one.seen  # nothing is drawn
        assert one.n_tokens == 3


def test_twice_the_draws_begin_with_the_same_masks(mdm: Model) -> None:
    """Its first half is w = 0's own draws, so the other half alone, by subtraction, has their spread."""
    long = [PAIRS[2]]
    once, exact = [], score(mdm, long, method="exact")[0].logprob
    twice = []
    for seed in range(60):
        (found,) = guided_scores(mdm, long, (1.0,), draws=6, seed=seed)
        (plain,) = guided_scores(mdm, long, (1.0,), draws=6, seed=seed, twice=False)
        assert plain.seen == pytest.approx(found.seen, abs=1e-6) and plain.seen_twice == pytest.approx(plain.seen)
        once.append(found.seen)
        twice.append(found.seen_twice)
    assert np.mean(once) == pytest.approx(-exact, abs=4 * np.std(once) / 60**0.5)
    assert np.mean(twice) == pytest.approx(-exact, abs=4 * np.std(twice) / 60**0.5)
    assert np.var(twice) < 0.8 * np.var(once)
    assert np.corrcoef(once, twice)[0, 1] > 0.5


def test_an_autoregressive_model_drops_its_prompt(arm: Model) -> None:
    found = guided_scores(arm, PAIRS, SCALES)
    seen, blind = score(arm, PAIRS), score(arm, [([0], answer) for _, answer in PAIRS])
    np.testing.assert_allclose([one.seen for one in found], [-one.logprob for one in seen], rtol=1e-5)
    np.testing.assert_allclose([one.blind for one in found], [-one.logprob for one in blind], rtol=1e-4)
    assert [one.seen_twice for one in found] == [one.seen for one in found]
    ends = guided_scores(arm, PAIRS, SCALES, view="end")
    blind = score(arm, [([0] * len(context), answer) for context, answer in PAIRS])
    np.testing.assert_allclose([one.blind for one in ends], [-one.logprob for one in blind], rtol=1e-4)


def test_guided_nats_of_an_autoregressive_model_by_hand(arm: Model) -> None:
    context, answer = PAIRS[0]
    (found,) = guided_scores(arm, [(context, answer)], (0.7,))
    with torch.no_grad():
        c = arm.network(torch.tensor([[*context, *answer]]))[0, 1:4].double()
        u = arm.network(torch.tensor([[0, *answer]]))[0, :3].double()
    logp = (u + 1.7 * (c - u)).log_softmax(-1)
    assert found.nats_W[0] == pytest.approx(-float(logp[range(3), answer].sum()), rel=1e-4)


def test_the_batch_changes_nothing(mdm: Model) -> None:
    together = guided_scores(mdm, PAIRS, SCALES, draws=6)
    for view in ("mask", "drop"):
        together = guided_scores(mdm, PAIRS, SCALES, draws=6, view=view)
        for pair, one in zip(PAIRS, together, strict=True):
            (alone,) = guided_scores(mdm, [pair], SCALES, draws=6, view=view, batch_tokens=1)
            np.testing.assert_allclose(alone.nats_W, one.nats_W, rtol=1e-4, atol=1e-5)
            assert alone.seen_twice == pytest.approx(one.seen_twice, rel=1e-4)


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.floats(-0.5, 4))
def test_without_a_difference_guidance_changes_nothing_and_it_is_normalised(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    logits, other = torch.randn(2, 5, 7)
    targets = torch.randint(0, 7, (5,))
    same = nats_by_scale(logits, logits, targets, (scale,))
    np.testing.assert_allclose(same[:, 0], same[:, 1], rtol=1e-4, atol=1e-4)
    every = np.stack([nats_by_scale(logits, other, torch.full((5,), v), (scale,)) for v in range(7)])
    np.testing.assert_allclose(np.exp(-every).sum(axis=0), 1, rtol=1e-4)


def test_bad_input(mdm: Model, arm: Model) -> None:
    with pytest.raises(UserError, match="view 'none' is unknown; views without the prompt: mask, drop, end"):
        guided_scores(mdm, PAIRS, SCALES, view="none")
    with pytest.raises(UserError, match="has no mask to put for the prompt"):
        guided_scores(arm, PAIRS, SCALES, view="mask")
    with pytest.raises(UserError, match="guidance scales are .*nan"):
        guided_scores(mdm, PAIRS, (float("nan"),))
    with pytest.raises(UserError, match="draws is 1"):
        guided_scores(mdm, PAIRS, SCALES, draws=1)
