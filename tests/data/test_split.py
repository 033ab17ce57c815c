"""Which text is held out."""

from __future__ import annotations

import pytest

from unmask.data.document import Document
from unmask.data.split import TRAIN, VALIDATION, held_out_end


@pytest.mark.parametrize("lengths", [[1000], [500, 500], [10] * 100, [1, 998, 1]])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_end_is_held_out(lengths: list[int], share: float) -> None:
    documents = [Document("word " * (n // 5) + "x" * (n % 5), str(i)) for i, n in enumerate(lengths)]
    sided = list(held_out_end(documents, share, sum(lengths)))
    assert [side for side, _ in sided] == sorted(side for side, _ in sided)  # training first
    assert "".join(d.text for _, d in sided) == "".join(d.text for d in documents)
    held = sum(len(d.text) for side, d in sided if side == VALIDATION)
    assert abs(held - share * 1000) <= 5 and {side for side, _ in sided} == {TRAIN, VALIDATION}
    assert len(sided) <= len(documents) + 1
