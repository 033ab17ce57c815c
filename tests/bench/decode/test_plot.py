"""The picture of `unmask bench decode`, of a small result as a release left it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.bench.decode.pareto import front, points
from unmask.bench.decode.plot import plot

KEPT = Path(__file__).parents[2] / "frozen" / "artefacts" / "decode.json"


def test_the_front_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text as text
    result = json.loads(KEPT.read_text())
    plot(result, tmp_path / "decode.svg")
    drawn, (cell, *_) = (tmp_path / "decode.svg").read_text(), result["cells"]
    found = points(cell, str(result["options"]["batch"][0]))
    named = front(found, cell["real_text"]["entropy"]["value"])
    assert named and all(name in drawn for name in named)
    assert "masked diffusion" in drawn and "ARM twin" in drawn and "held-out text" in drawn
