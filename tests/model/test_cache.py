"""Keys and values kept: the same as without."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.shapes import SIZES, make, tokens
from unmask.errors import UserError
from unmask.model.cache import KVCache
from unmask.model.config import ModelConfig


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_cache_gives_what_no_cache_gives(kv_heads: int) -> None:
    """Prompts of different lengths, token by token, and after a row has left."""
    network = make(causal=True, n_kv_head=kv_heads)
    ids_BT = tokens(3, 12)
    lengths = torch.tensor([2, 5, 3])
    with torch.no_grad():
        whole_BTV = network(ids_BT)
        cache = network.cache(3, 12)
        prompt_BT = torch.where(torch.arange(5) < lengths[:, None], ids_BT[:, :5], 0)
        network.hidden(prompt_BT, positions_BT=torch.arange(5).expand(3, 5), cache=cache)
        rows = torch.arange(3)
        for step in range(6):
            if step == 3:
                rows = torch.tensor([0, 2])
                cache.keep(rows)
            at = (lengths[rows] + step)[:, None]
            logits = network.head(network.hidden(ids_BT[rows].gather(1, at), positions_BT=at, cache=cache))
            torch.testing.assert_close(logits[:, 0], whole_BTV[rows, at[:, 0]], atol=1e-5, rtol=1e-5)


@settings(max_examples=60)
@given(order=st.permutations(range(5)), moved=st.integers(1, 5))
def test_rows_change_places_all_at_once(order: list[int], moved: int) -> None:
    """Also in circles; what lies beyond the used slots stays."""
    cache = KVCache(ModelConfig(**SIZES, causal=True), 5, 4)
    cache.room += torch.arange(5.0)[:, None, None, None]
    cache.move(dict(enumerate(order[:moved])), used=3)
    assert cache.room[0, 0, :moved, 0, 0, 0].tolist() == [float(place) for place in order[:moved]]
    assert cache.room[1, 1, :, -1, 3, -1].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert set(cache.room[0, 1, moved:, 0, 2, 0].tolist()) <= {float(place) for place in range(moved, 5)}


def test_some_rows_are_a_cache_of_their_own() -> None:
    cache = KVCache(ModelConfig(**SIZES, causal=True), 5, 4)
    cache.first(2)
    cache.part(3, 5).slots.fill_(1.0)
    assert cache.slots.shape[2] == 2 and float(cache.slots.sum()) == 0.0
    assert cache.room[0, 0, :, 0, 0, 0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_too_long_is_said() -> None:
    with pytest.raises(UserError, match="25 tokens exceed the context of 24"):
        make().hidden(tokens(1, 25))
    with pytest.raises(UserError, match="25 tokens exceed the context of 24"):
        KVCache(ModelConfig(**SIZES, causal=True), 1, 25)
