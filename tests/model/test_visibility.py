"""Who sees whom, against rules told pair by pair."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.visibility import (
    Sees,
    Where,
    block_causal,
    causal,
    everything,
    keys,
    pairs,
    restarting_positions,
    segments,
)

ROWS, SLOTS = 2, 9
INSIDE_BS = torch.tensor([[True] * 9, [True, False] * 4 + [True]])
NUMBERS_BS = torch.tensor([[0] * 4 + [1] * 5, [0, 0, 1, 1, 1, 2, 2, 2, -1]])
CPU = torch.device("cpu")
# Each with the rule for row b, the query's place q and the key's place k.
PARTS: dict[str, tuple[Sees, Any]] = {
    "everything": (everything, lambda b, q, k: True),
    "causal": (causal, lambda b, q, k: k <= q),
    "blocks of 4": (block_causal(4), lambda b, q, k: k // 4 <= q // 4),
    "keys": (keys(INSIDE_BS), lambda b, q, k: bool(INSIDE_BS[b, k])),
    "segments": (segments(NUMBERS_BS), lambda b, q, k: bool(NUMBERS_BS[b, k] == NUMBERS_BS[b, q])),
}


def table(sees: Sees, where: Where) -> torch.Tensor:
    """[B, T, S], as attention would read it."""
    mask, is_causal = sees.for_attention(where)
    assert not (is_causal and mask is not None)
    allowed = torch.ones(ROWS, 1, where.length, where.slots, dtype=torch.bool)
    if is_causal:
        allowed = allowed.tril()
    return (allowed if mask is None else allowed & mask)[:, 0]


@given(st.lists(st.sampled_from(list(PARTS)), min_size=1, max_size=4), st.booleans())
def test_parts_joined_allow_what_all_of_them_allow(names: list[str], cached: bool) -> None:
    places_BT = torch.tensor([[2, 3, 4], [0, 5, SLOTS]]) if cached else None  # the last is padding
    where = Where(SLOTS if places_BT is None else 3, SLOTS, CPU, places_BT)
    sees = PARTS[names[0]][0]
    for name in names[1:]:
        sees = sees & PARTS[name][0]
    found_BTS = table(sees, where)
    queries_BT = torch.arange(SLOTS).expand(ROWS, -1) if places_BT is None else places_BT
    for b in range(ROWS):
        for t, query in enumerate(place for place in queries_BT[b].tolist() if place < SLOTS):
            expected = [all(PARTS[name][1](b, query, key) for name in names) for key in range(SLOTS)]
            assert found_BTS[b, t].tolist() == expected


def test_attention_is_given_no_mask_where_it_needs_none() -> None:
    whole = Where(SLOTS, SLOTS, CPU)
    assert everything.for_attention(whole) == (everything & everything).for_attention(whole) == (None, False)
    assert causal.for_attention(whole) == (everything & causal).for_attention(whole) == (None, True)
    assert (causal & everything) is causal


@pytest.mark.parametrize("rows", [[], [ROWS]])
def test_a_table_of_pairs(rows: list[int]) -> None:
    table_TS = torch.rand(*rows, SLOTS, SLOTS, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(table(pairs(table_TS), Where(SLOTS, SLOTS, CPU)), table_TS.expand(ROWS, -1, -1))


def test_positions_begin_again_with_each_stretch() -> None:
    assert restarting_positions(NUMBERS_BS).tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 4], [0, 1, 0, 1, 2, 0, 1, 2, 0]]
