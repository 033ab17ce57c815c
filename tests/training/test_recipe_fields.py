"""Keys of a recipe and their older names: taken with one line in files, on the command line and in runs of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.training.overrides import load_recipe, parsed
from unmask.training.recipe_fields import OptimizerFields, fork_of

OLD = "data: d\nout: o\nsteps: 5\noptimizer: {schedule: wsd, decay: 0.5}\n"


def test_an_older_name_in_a_file_is_taken_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(OLD)
    assert load_recipe(path).optimizer == OptimizerFields(schedule="wsd", decay_share=0.5)
    told = capsys.readouterr().err
    assert told == f"unmask: {path}: optimizer.decay is called optimizer.decay_share now, and taken as that\n"
    path.write_text(OLD.replace("decay: 0.5", "decay: 0.5, decay_share: 0.4"))
    with pytest.raises(UserError, match="optimizer.decay is optimizer.decay_share by its old name; leave out one"):
        load_recipe(path)


def test_an_older_name_on_the_command_line_goes_over_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(OLD.replace("decay:", "decay_share:"))
    assert load_recipe(path, {"optimizer.decay": "0.25"}).optimizer.decay_share == 0.25
    assert capsys.readouterr().err.startswith("unmask: --optimizer.decay is called --optimizer.decay_share now")
    with pytest.raises(UserError, match="--optimizer.decay_share is given twice"):
        parsed({"optimizer.decay": "0.1", "optimizer.decay_share": "0.2"})


def test_a_fork_is_a_run_and_a_step() -> None:
    assert fork_of("runs/a@b@800") == ("runs/a@b", 800)
    for text in ("runs/a", "@8", "runs/a@0", "runs/a@x"):
        with pytest.raises(UserError, match="fork is"):
            fork_of(text)
