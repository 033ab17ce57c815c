"""The picture of frontiers and gaps."""

from __future__ import annotations

from pathlib import Path

from unmask.experiments.speed import experiment

from .conftest import Run


def test_a_result_has_its_picture(run: Run, tmp_path: Path) -> None:
    (picture,) = experiment.plot(run.result, tmp_path)
    assert picture.stat().st_size > 20_000
