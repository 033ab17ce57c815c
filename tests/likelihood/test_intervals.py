"""Errors and intervals say what they know: few draws, sums of windows and of answers, draws that are run."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from unmask.likelihood import corpus_bound, rolling, score
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import make_pairs
from unmask.likelihood.scoring import error_of_total, score_pairs
from unmask.model.folder import Model
from unmask.statistics import student_975

RNG = np.random.default_rng(0)
PAIRS = [(RNG.integers(1, 5, 3).tolist(), RNG.integers(1, 5, 11).tolist()) for _ in range(8)]


@pytest.fixture(scope="module")
def model(make_model: Any) -> Model:
    return make_model(vocab_size=5)


@pytest.mark.parametrize(("method", "draws"), [("mc-fixed", 2), ("mc-fixed", 4), ("chain-rule", 2), ("chain-rule", 3)])
def test_intervals_of_few_draws_hold_the_exact_value(model: Model, method: str, draws: int) -> None:
    exact = [found.logprob for found in score(model, PAIRS, method="exact")]
    order = {"order": "random"} if method == "chain-rule" else {}
    held = []
    for seed in range(40):
        scores = score(model, PAIRS, method=method, draws=draws, seed=seed, **order)
        for found, truth in zip(scores, exact, strict=True):
            low, high = found.interval
            held.append(low <= truth <= high)
            assert high - found.logprob == pytest.approx(student_975(found.groups - 1) * found.se)
            assert found.to_dict()["interval"] == [low, high]
    assert 0.92 < np.mean(held) < 0.98, "320 intervals: 95% give or take 1.2%"


@pytest.mark.parametrize("draws", [2, 3, 4])
def test_intervals_of_a_corpus_hold_the_exact_value(model: Model, draws: int) -> None:
    windows_NT = np.random.default_rng(1).integers(1, 5, (10, 8))
    exact = -sum(s.logprob for s in score(model, [([0], row.tolist()) for row in windows_NT], method="exact")) / 80
    held = []
    for seed in range(150):
        found = corpus_bound(model, windows_NT, draws=draws, seed=seed)
        assert found.groups == draws and found.interval is not None
        held.append(found.interval[0] <= exact <= found.interval[1])
    assert 0.90 < np.mean(held) < 0.99, "150 intervals: 95% give or take 1.8%"
    per_byte = found.bits_per_byte_interval(160)
    assert per_byte == pytest.approx([nats * 80 / math.log(2) / 160 for nats in found.interval])
    assert json.loads(json.dumps(found.to_dict()))["interval"] == found.interval
    assert corpus_bound(model, windows_NT, draws=1).interval is None


def test_an_exact_score_is_its_interval(make_model: Any, model: Model) -> None:
    arm = make_model(vocab_size=5, causal=True)
    for found in (*score(arm, PAIRS[:1]), *score(model, PAIRS[:1], method="exact"), *rolling(arm, [[1, 2, 3] * 20])):
        assert found.groups == 0 and found.se == 0 and found.interval == (found.logprob, found.logprob)
    bound = corpus_bound(arm, np.ones((2, 4), dtype=int))
    assert bound.groups == 0 and bound.interval == [bound.nats_per_token] * 2


@pytest.mark.parametrize("draws", [2, 3, 5, 17, 128])
def test_no_more_masks_are_run_than_asked_for(model: Model, monkeypatch: pytest.MonkeyPatch, draws: int) -> None:
    from unmask.likelihood import scoring

    asked: list[int] = []
    whole = scoring.run_queries

    def counted(model: Model, queries: Any, *args: Any, **options: Any) -> Any:
        listed = list(queries)
        asked.append(len(listed))
        return whole(model, listed, *args, **options)

    monkeypatch.setattr(scoring, "run_queries", counted)
    text = RNG.integers(1, 5, 19).tolist()
    (found,) = score(model, [([1], text)], draws=draws)
    assert sum(asked) == found.draws <= draws and found.groups >= 2
    if draws == 2:
        assert found.draws == 2
    asked.clear()
    with pytest.warns(UserWarning, match="have not reached"):
        (found,) = score(model, [([1], text)], until_se=1e-6, max_draws=100 + draws)
    assert sum(asked) == found.draws <= 100 + draws


def test_a_text_that_repeats_itself_has_one_error_many_times(model: Model) -> None:
    """Equal windows are scored under equal masks, so their errors do not cancel."""
    text = RNG.integers(1, 5, 8).tolist()
    (found,) = rolling(model, [text * 30], window=17, overlap=1, draws=8)  # windows of two periods each
    seeds = [rolling(model, [text * 30], window=17, overlap=1, draws=8, seed=s)[0] for s in range(30)]
    spread = np.std([one.logprob for one in seeds], ddof=1)
    assert 0.5 < np.sqrt(np.mean([one.se**2 for one in seeds])) / spread < 2
    assert found.groups >= 2 and found.to_dict()["interval"] == list(found.interval)


def test_errors_of_one_context_are_not_taken_for_independent(model: Model) -> None:
    pairs = make_pairs(model, [PAIRS[0], (PAIRS[0][0], PAIRS[1][1]), PAIRS[2]])
    found = score_pairs(model, pairs, Estimator("mc-fixed", 20))
    se, groups = error_of_total(pairs, found)
    assert se == pytest.approx(math.hypot(found[0].se + found[1].se, found[2].se))
    assert min(s.groups for s in found) <= groups <= 1 + sum(s.groups - 1 for s in found)
