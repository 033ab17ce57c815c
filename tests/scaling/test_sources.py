"""Where a prediction comes from: our fit, the paper, a file."""

import math
from pathlib import Path

import pytest

from scaling.fit_files import fit_file
from unmask.errors import UserError
from unmask.scaling import sources
from unmask.scaling.cost import Cost
from unmask.scaling.sources import FitSource, open_source


def test_the_default_is_the_paper_until_our_own_fit_lies_there(tmp_path, monkeypatch, written):
    monkeypatch.setattr(sources, "OURS", tmp_path / "none.json")
    assert "2410.18514" in open_source(None).name
    with pytest.raises(UserError, match="no fit of our own is shipped yet; give --from paper"):
        open_source("ours")
    monkeypatch.setattr(sources, "OURS", Path(written()))
    assert open_source(None).name == open_source("ours").name == "the fit of our own sweep"


def test_a_budget_is_asked_of_the_fit_whose_runs_are_nearer():
    """Ours goes to 2.56e14, the paper's begins at 6e18."""
    ours, paper = (open_source(name).name for name in ("ours", "paper"))
    asked = {flops: open_source(None, flops).name for flops in (1e10, 1e14, 3e15, 1e17, 1e20, 1e23)}
    assert list(asked.values()) == [ours, ours, ours, paper, paper, paper]


def test_exact_flops_come_from_the_fits_own_cost(tmp_path):
    cost = Cost((math.log(1e6), math.log(1e9)), (math.log(2e7), math.log(8e9)))
    source = FitSource(fit_file(cost={"arm": cost.to_dict()}, flops_rule="exact"), "here")
    assert source.flops_of("arm", 1e6, 1e9) == pytest.approx(2e16)
    assert source.flops_of("arm", 1e9, 1.0) == pytest.approx(8e9)


def test_a_report_folder_names_its_fit(tmp_path, written):
    written()
    assert open_source(str(tmp_path)).objectives == ["arm"]
