"""Pictures of four corpora, two a row, whose compared points are told from others."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from unmask.experiments.temporal.plots import plot
from unmask.experiments.temporal.texts import CORPORA, IN_PERIOD


def made(names: list[str]) -> dict[str, Any]:
    points = [
        {"kind": kind, "seed": seed, IN_PERIOD: loss, "later": loss + 0.3, "compared": kind == "arm" or loss < 2.6}
        for kind, losses in {"mdm": (2.7, 2.5, 2.4), "arm": (2.6, 2.2)}.items()
        for loss in losses
        for seed in (0, 1)
    ]
    figure = {"estimate": -0.1, "low": -0.2, "high": 0.0}
    groups = {f"{decade}s": figure for decade in range(1910, 2030, 10)} | {"later": figure, "later written": figure}
    head = {"difference": groups}
    return {"corpora": {n: {"points": points} for n in names}, "headline": {n: head for n in names}}


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 2), (4, 2)])
def test_panels_stand_two_a_row(tmp_path: Path, count: int, rows: int) -> None:
    for path in plot(made(list(CORPORA)[:count]), tmp_path):
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width / height == pytest.approx((4.8 * min(2, count)) / (4.0 * rows), rel=0.02)
