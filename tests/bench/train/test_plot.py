"""The picture of `unmask bench train`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.train.reports import report
from unmask.bench.train.plot import plot


def test_bars_say_the_medians_and_the_suffix_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text as text
    plot(report(), tmp_path / "bench.svg")
    drawn = (tmp_path / "bench.svg").read_text()
    for text in (">900<", ">450<", "2 ranks", "6M", "tokens/s", "a processor"):
        assert text in drawn
    with pytest.raises(ValueError, match="odd"):
        plot(report(), tmp_path / "bench.odd")
