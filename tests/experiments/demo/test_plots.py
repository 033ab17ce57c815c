"""The demo's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.experiments.demo.plots import picture


def test_a_picture_for_the_readme(summary: dict[str, Any], tmp_path: Path) -> None:
    first = picture(summary, tmp_path / "a.png").read_bytes()
    assert first[:4] == b"\x89PNG" and picture(summary, tmp_path / "b.png").read_bytes() == first
    summary["arm"]["bits_per_byte"] *= 2
    assert picture(summary, tmp_path / "c.png").read_bytes() != first
