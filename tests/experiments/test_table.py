"""The table of results: what is kept, and that the page of this checkout is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments import table
from unmask.experiments.command import run_experiment
from unmask.experiments.frame import Experiment
from unmask.experiments.options import ExperimentOptions


def test_a_quick_result_is_not_kept(pretend: Experiment, tmp_path: Path) -> None:
    run_experiment(ExperimentOptions("pretend", out=str(tmp_path / "x"), quick=True))
    with pytest.raises(UserError, match="is of --quick"):
        table.keep(tmp_path / "x", tmp_path / "results")
    (tmp_path / "results" / "pretend").mkdir(parents=True)
    (tmp_path / "x" / "result.json").rename(tmp_path / "results" / "pretend" / "result.json")
    with pytest.raises(UserError, match="is of --quick"):
        table.results(tmp_path / "results")
    with pytest.raises(UserError, match="has no result.json"):
        table.keep(tmp_path / "x", tmp_path / "results")


def test_the_page_of_this_checkout_is_what_its_results_say() -> None:
    root = Path(__file__).parents[2]
    assert (root / "docs" / "results.md").read_text() == table.table(table.results(root / "results"))
