"""Pictures of experiments: saved where the block ends well."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.pretending import FIGURE
from unmask.experiments.plotting import ARM, MDM, bars, picture


def test_a_picture_is_saved_when_all_is_drawn_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    with picture(path, 6, 3, columns=2) as axes:
        assert len(axes) == 2 and not path.exists()
        bars(axes[0], ["mdm", "arm"], [FIGURE, FIGURE], [MDM, ARM])
        assert [bar.get_height() for bar in axes[0].patches] == [50, 50]  # in a hundred
        assert [text.get_text() for text in axes[0].texts] == ["50", "50"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "one.png", 3, 3):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
