"""TensorBoard logs as runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from unmask.errors import UserError
from unmask.scaling.event_logs import numbers_of
from unmask.scaling.table import read_runs


def test_tensorboard_logs_are_read_by_name_and_tag(tmp_path: Path) -> None:
    for name, loss in (("1e+19_100M_16.7B", 3.5), ("3e19_200_25B", 3.3)):
        with SummaryWriter(tmp_path / name) as log:
            log.add_scalar("train/loss", 9.0, 1)
            for step, value in ((1, 5.0), (2, loss)):
                log.add_scalar("validation/loss", value, step)
    (tmp_path / "other").mkdir()
    runs, _ = read_runs(tmp_path, tag="validation/loss")
    assert runs.flops.tolist() == [1e19, 3e19] and runs.params.tolist() == [1e8, 2e8]
    assert runs.tokens.tolist() == [16.7e9, 25e9] and runs.loss == pytest.approx([3.5, 3.3])
    assert set(runs.objective) == {"mdm"}
    for tag in (None, "valid/loss"):
        with pytest.raises(UserError, match="those there: train/loss, validation/loss"):
            read_runs(tmp_path, tag=tag)
    assert numbers_of("6e18_75.5M_1T") == (6e18, 75.5e6, 1e12)
