"""Which token a state speaks of, and where in a window it stands."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.model.alignment import IN_PLACE, NEXT_TOKEN, SHIFTED, Alignment


@settings(max_examples=60)
@given(st.sampled_from([IN_PLACE, NEXT_TOKEN, SHIFTED]), st.integers(1, 6), st.data())
def test_places_in_a_window_by_search(alignment: Alignment, width: int, data: st.DataObject) -> None:
    """`index` into windows of any places, against a search through each."""
    slots, rows = 12, 3
    places = st.lists(st.integers(0, slots - 1), min_size=width, max_size=width, unique=True).map(sorted)
    window_BT = torch.tensor([data.draw(places) for _ in range(rows)])
    columns = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, width - 1)), min_size=1, max_size=8))
    row_N, column_N = (torch.tensor(x) for x in zip(*columns, strict=True))
    state_N = window_BT[row_N, column_N]
    predicted_N = state_N + alignment.behind
    found_N = alignment.index((row_N, predicted_N), width, window_BT, slots)
    assert torch.equal(found_N, row_N * width + column_N)


def test_a_window_takes_in_what_speaks_of_its_tokens() -> None:
    wanted_BL = torch.tensor([[False, False, True, True, False], [True, False, False, False, True]])
    assert torch.equal(IN_PLACE.window(wanted_BL), wanted_BL)
    expected = [[False, True, True, True, False], [True, False, False, True, True]]
    assert SHIFTED.window(wanted_BL).tolist() == expected and wanted_BL[0, 1].item() is False
    assert (IN_PLACE.fed(7), NEXT_TOKEN.fed(7), SHIFTED.fed(7)) == (7, 6, 7)


def test_rows_and_what_they_speak_of() -> None:
    index_N, hidden_BTE = torch.tensor([0, 4, 5, 9]), torch.arange(10.0).view(2, 5, 1)
    for alignment, places, rows in (
        (IN_PLACE, [0, 4, 0, 4], [0, 4, 5, 9]),
        (NEXT_TOKEN, [1, 5, 1, 5], [0, 4, 5, 9]),
        (SHIFTED, [0, 4, 0, 4], [0, 3, 5, 8]),
    ):
        row_N, place_N = alignment.at(index_N, 5)
        assert (row_N.tolist(), place_N.tolist()) == ([0, 0, 1, 1], places)
        assert alignment.index((row_N, place_N), 5).tolist() == rows
        assert alignment.rows(hidden_BTE).flatten()[index_N].tolist() == rows
