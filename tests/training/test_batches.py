"""Training on a part of the data: which windows, again and again, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.training.batches import Batches
from unmask.training.setup import model_config


def batches(lab, **changes):
    recipe = lab.recipe("x", **changes)
    data = TokenData(recipe.data, "train")
    return Batches(recipe, data, model_config(recipe, data.vocab_size, data.eos_id)), data


@pytest.mark.parametrize("subset", [0, 1])
def test_only_the_subsets_windows_are_seen_each_once_an_epoch(lab, subset):
    found, data = batches(
        lab, unique_tokens=170.0, unique_subset=subset, objective={"kind": "arm", "random_length": 0.0}
    )
    assert found.n_samples == 10  # of 16 tokens: what does not fill a window is left out
    wanted = {tuple(data.read(16 * i, 16)) for i in range(10 * subset, 10 * subset + 10)}
    for epoch in range(3):
        k = np.arange(10 * epoch, 10 * epoch + 10)
        assert {tuple(row) for row in found.inputs(k).tokens_BT.tolist()} == wanted


def test_all_data_is_as_it_was(lab):
    plain, _ = batches(lab)
    whole, _ = batches(lab, unique_tokens=float(16 * plain.n_samples))
    k = np.arange(7)
    assert np.array_equal(plain.inputs(k).tokens_BT, whole.inputs(k).tokens_BT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unique_tokens": 1e9}, "to train on; give fewer"),
        ({"unique_tokens": 4000.0, "unique_subset": 50}, "of subset 50"),
        ({"unique_tokens": 3.0}, "at least the context"),
    ],
)
def test_what_is_not_there_is_refused(lab, changes, words):
    with pytest.raises(UserError, match=words):
        batches(lab, **changes)
