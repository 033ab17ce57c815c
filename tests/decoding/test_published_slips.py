"""Rules that published code got wrong, on canvases whose confidences and entropies are chosen freely.

    factor           [.99, .98, .2] with f = 1 commits 2, not 3
    entropy-bounded  the sum without its largest term is bounded, not the sum
    any of them      sums and ranks run along a row, not down the batch

A chain of senders and values: sender k says how sure the value behind it is, and any value leads to any sender alike.
So masks between senders know nothing of each other, and a pass changes nothing for the next.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from decoding.oracle import Chain, oracle
from unmask.decoding import generate
from unmask.model.folder import Model

VALUES = 5


def senders(confidences: list[float]) -> Model:
    """Sender k is token k: a value follows with probability confidences[k], the rest of it spread over the others."""
    first = len(confidences)
    size = first + VALUES
    transition_VV = np.zeros((size, size))
    for sender, confidence in enumerate(confidences):
        transition_VV[sender, first:] = (1 - confidence) / (VALUES - 1)
        transition_VV[sender, first] = confidence
    transition_VV[first:, :first] = 1 / first
    return oracle(Chain(transition_VV, np.full(size, 1 / size)), context=4 * first)


def row(model: Model, order: list[int]) -> list[int]:
    """Senders in some order, each with a blank behind it."""
    mask_id = model.mask_id
    assert mask_id is not None
    return [token for sender in order for token in (sender, mask_id)]


def committed(confidences: list[float], *orders: list[int], **options: object) -> list[list[list[int]]]:
    """Of every row the senders whose blanks each pass filled."""
    model = senders(confidences)
    prompts = [row(model, order) for order in orders or [list(range(len(confidences)))]]
    found = generate(model, prompts, length=0, temperature=0, **options)  # type: ignore[arg-type]
    return [
        [sorted(g.canvas[e["position"] - 1] for e in g.trace if e["step"] == step) for step in sorted(set(g.steps))]
        for g in found
    ]


def entropy(confidence: float) -> float:
    rest = 1 - confidence
    return -confidence * math.log(confidence) - rest * math.log(rest / (VALUES - 1))


def test_factor_commits_two() -> None:
    assert committed([0.99, 0.98, 0.2001], order="confidence", quota="factor:1") == [[[0, 1], [2]]]
    # (k + 1)(1 - c_k) = 4 * 0.24 = 0.96 for the third.
    assert committed([0.99, 0.98, 0.76], order="confidence", quota="factor:1") == [[[0, 1, 2]]]
    assert committed([0.99, 0.98, 0.74], order="confidence", quota="factor:1") == [[[0, 1], [2]]]
    assert committed([0.99, 0.98, 0.76], order="confidence", quota="factor:0.01") == [[[0], [1], [2]]]  # at least one


def test_entropy_bound_leaves_the_largest_term_out() -> None:
    """Of three equal entropies H the first two cost H, all three 2 H."""
    h = entropy(0.97)
    for bound, passes in ((0.9 * h, [1, 1, 1]), (1.1 * h, [2, 1]), (2.1 * h, [3])):
        found = committed([0.97] * 3, order="entropy", quota=f"entropy-bounded:{bound}")
        assert [len(senders) for senders in found[0]] == passes
    # The first is free: its own entropy is the largest.
    assert committed([0.3, 0.25], order="entropy", quota="entropy-bounded:0") == [[[0], [1]]]


def test_threshold_commits_all_above_and_at_least_one() -> None:
    sure = [0.95, 0.5, 0.91, 0.89]
    assert committed(sure, order="confidence", quota="threshold:0.9") == [[[0, 2], [3], [1]]]
    assert committed(sure, order="confidence", threshold=0.4) == [[[0, 1, 2, 3]]]
    # With two steps a row must not fall behind: half of it at the first, whatever the threshold.
    assert committed(sure, order="confidence", quota="threshold:0.99", steps=2) == [[[0, 2], [1, 3]]]


def test_klass_waits_for_predictions_that_hold_still() -> None:
    """Nothing moves here, so after two passes that changed nothing (h = 2) all sure ones go at once."""
    sure = [0.99, 0.98, 0.97, 0.96, 0.5]
    assert committed(sure, order="confidence", quota="klass:threshold=0.9") == [[[0], [1], [2, 3], [4]]]
    assert committed(sure, order="confidence", quota="klass:threshold=0.9,history=1") == [[[0], [1, 2, 3], [4]]]


@pytest.mark.parametrize("quota", ["factor:1", "entropy-bounded:0.3", "threshold:0.9", "klass", "even", "paper"])
def test_no_sum_runs_down_the_batch(quota: str) -> None:
    """Rows of a batch commit what each commits alone, whatever stands beside, above and below."""
    sure = [0.99, 0.98, 0.97, 0.93, 0.6, 0.3]
    orders = [[0, 1, 2, 3], [5, 4], [3, 0, 5, 1, 4, 2], [5, 5, 5], [2, 1]]
    order = "entropy" if quota.startswith("entropy") else "confidence"
    together = committed(sure, *orders, order=order, quota=quota)
    assert together == [committed(sure, order_, order=order, quota=quota)[0] for order_ in orders]
    assert len({len(passes) for passes in together}) > 1
