"""The corpus protocol: same tokens for both kinds, a clean end of sequence before each window, an honest error."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from unmask.errors import UserError
from unmask.likelihood import corpus_bound, score
from unmask.likelihood.corpus import LEVELS
from unmask.model.folder import Model

WINDOWS_NT = np.random.default_rng(0).integers(0, 3, (6, 4))


def test_a_bound_estimates_what_enumeration_gives(mdm: Model) -> None:
    exact = -sum(s.logprob for s in score(mdm, [([0], row.tolist()) for row in WINDOWS_NT], method="exact"))
    found = corpus_bound(mdm, WINDOWS_NT, draws=3000)
    assert found.is_bound and found.method == "mc-windows" and found.n_tokens == 24
    assert found.nats_se is not None and 0 < found.nats_se < 0.02 * exact
    assert abs(found.nats - exact) < 4 * found.nats_se
    assert found.window_nats_N.sum() == pytest.approx(found.nats)
    assert found.nats_per_token == pytest.approx(found.nats / 24) and found.se == pytest.approx(found.nats_se / 24)


def test_an_arm_is_exact(arm: Model) -> None:
    found = corpus_bound(arm, WINDOWS_NT)
    with torch.no_grad():
        inputs = torch.from_numpy(np.insert(WINDOWS_NT, 0, 0, axis=1)[:, :-1])
        logp = arm.network(inputs).double().log_softmax(-1)
    expected_N = -logp.gather(-1, torch.from_numpy(WINDOWS_NT)[:, :, None]).sum((1, 2)).numpy()
    assert found.window_nats_N == pytest.approx(expected_N, rel=1e-6)
    assert (found.se, found.is_bound, found.method, found.ce_by_level) == (0.0, False, "exact", None)


def test_both_kinds_score_the_same_tokens(mdm: Model, arm: Model) -> None:
    for eos_first, tokens in ((True, 24), (False, 18)):
        counts = {corpus_bound(model, WINDOWS_NT, eos_first=eos_first).n_tokens for model in (mdm, arm)}
        assert counts == {tokens}
    pairs = [(row[:1].tolist(), row[1:].tolist()) for row in WINDOWS_NT]
    expected = -sum(s.logprob for s in score(arm, pairs))
    assert corpus_bound(arm, WINDOWS_NT, eos_first=False).nats == pytest.approx(expected, rel=1e-6)


def test_the_standard_error_is_honest(mdm: Model) -> None:
    exact = -sum(s.logprob for s in score(mdm, [([0], row.tolist()) for row in WINDOWS_NT], method="exact"))
    found = [corpus_bound(mdm, WINDOWS_NT, draws=16, seed=seed) for seed in range(200)]
    z = np.array([(x.nats - exact) / x.nats_se for x in found if x.nats_se])
    assert len(z) == 200 and abs(z.mean()) < 0.3 and 0.8 < z.std() < 1.3


def test_levels_are_covered_evenly_and_told(mdm: Model) -> None:
    windows_NT = np.random.default_rng(1).integers(0, 3, (40, 20))
    found = corpus_bound(mdm, windows_NT, draws=4)
    assert found.ce_by_level is not None and len(found.ce_by_level) == LEVELS
    assert all(value is not None and 0 < value < 5 for value in found.ce_by_level)


def test_numbers_depend_on_the_seed_alone(mdm: Model) -> None:
    first = corpus_bound(mdm, WINDOWS_NT, seed=4)
    again = corpus_bound(mdm, WINDOWS_NT, seed=4, batch_tokens=5)
    assert again.nats == pytest.approx(first.nats, rel=1e-5)
    assert corpus_bound(mdm, WINDOWS_NT, seed=5).nats != first.nats
    # Each window's noise is its own: windows more or fewer change the others' levels, not their masks' source.
    assert corpus_bound(mdm, WINDOWS_NT[:3], seed=4).window_nats_N == pytest.approx(first.window_nats_N[:3], rel=1e-5)


def test_one_draw_has_no_error(mdm: Model) -> None:
    found = corpus_bound(mdm, WINDOWS_NT, draws=1)
    assert found.se is None and found.bits_per_byte_se(10) is None


def test_as_json_and_in_bits(mdm: Model) -> None:
    found = corpus_bound(mdm, WINDOWS_NT, draws=4)
    assert found.bits_per_byte(48) == pytest.approx(found.nats / math.log(2) / 48)
    told = json.loads(json.dumps(found.to_dict()))
    assert told["nats_per_token"] == found.nats_per_token and len(told["window_nats"]) == 6


@pytest.mark.parametrize(
    ("windows", "options", "message"),
    [
        (np.zeros((2, 24), dtype=int), {}, "windows need 25 tokens with what precedes them; give 2 to 24"),
        (np.zeros((2, 1), dtype=int), {"eos_first": False}, "give 2 to 24"),
        (np.zeros(4, dtype=int), {}, r"windows have shape \[4\]"),
        (np.zeros((2, 4)), {}, "type float64"),
        (np.full((2, 4), 3), {}, "outside the vocabulary of 3"),
        (WINDOWS_NT, {"draws": 0}, "draws is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_windows_are_named(mdm: Model, windows: np.ndarray, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        corpus_bound(mdm, windows, **options)


def test_no_end_of_sequence_is_said(make_model) -> None:
    with pytest.raises(UserError, match="the model has no eos_id to put before the windows; use eos_first=False"):
        corpus_bound(make_model(eos_id=None), WINDOWS_NT)
