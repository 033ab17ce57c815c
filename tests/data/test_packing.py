"""Examples packed into rows: each once, and little wasted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.packing import pack


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_packing_holds_every_example_once_and_wastes_little(lengths: list[int]) -> None:
    windows = pack(np.array(lengths), 20)
    assert sorted(np.concatenate(windows).tolist()) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in window) for window in windows]
    assert max(filled) <= 20
    assert sum(total <= 10 for total in filled) <= 1


def test_packing_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="21 tokens does not fit a window of 20"):
        pack(np.array([3, 21]), 20)
