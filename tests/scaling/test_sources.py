"""Where a prediction comes from: our fit, the paper, a file."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import UserError
from unmask.scaling import sources
from unmask.scaling.cost import Cost
from unmask.scaling.sources import FitSource, open_source

# Muennighoff et al. 2023, as published
MUENNIGHOFF = {"E": math.exp(0.6254804), "A": math.exp(6.255414), "B": math.exp(7.3049974)}


def values(**numbers):
    return {name: {"estimate": value, "low": None, "high": None} for name, value in numbers.items()}


def fit_file(draws=0, **more):
    """A fit of one objective, whose lines are the frontier of Muennighoff's law as far as lines can be."""
    lines = {"n_coefficient": 0.1, "n_exponent": 0.5, "d_coefficient": 1 / 0.6, "d_exponent": 0.5}
    lines |= {"m_coefficient": 0.6, "m_exponent": 0.5, "loss_coefficient": 30.0, "loss_exponent": -0.05}
    fit = {
        "flops_rule": "6nd",
        "approach2": {"arm": values(**lines)},
        "approach3": {"arm": values(**MUENNIGHOFF)},
        "gap": [],
        "ranges": {"arm": {"flops": [1e18, 1e20], "params": [1e7, 1e10], "tokens": [1e9, 1e12]}},
        "cost": {"arm": Cost().to_dict()},
        "constrained": {"arm": {"muennighoff": values(R_N=5.309743)}},
    }
    r_data = {"estimate": 15.387756, "low": 14.0, "high": 17.0}
    fit["constrained"]["arm"]["muennighoff"]["R_D"] = r_data
    if draws:
        rng = np.random.default_rng(0)

        def drawn(fields):
            return {name: (value * np.exp(rng.normal(0, 0.01, draws))).tolist() for name, value in fields.items()}

        fit["draws"] = {"approach2": {"arm": drawn(lines)}, "approach3": {"arm": drawn(MUENNIGHOFF)}}
    return fit | more


@pytest.fixture
def written(tmp_path):
    def write(**more) -> str:
        path = tmp_path / "fit.json"
        path.write_text(json.dumps(fit_file(**more)))
        return str(path)

    return write


def test_the_default_is_the_paper_until_our_own_fit_lies_there(tmp_path, monkeypatch, written):
    monkeypatch.setattr(sources, "OURS", tmp_path / "none.json")
    assert "2410.18514" in open_source(None).name
    with pytest.raises(UserError, match="no fit of our own is shipped yet; give --from paper"):
        open_source("ours")
    monkeypatch.setattr(sources, "OURS", Path(written()))
    assert open_source(None).name == open_source("ours").name == "the fit of our own sweep"


def test_exact_flops_come_from_the_fits_own_cost(tmp_path):
    cost = Cost((math.log(1e6), math.log(1e9)), (math.log(2e7), math.log(8e9)))
    source = FitSource(fit_file(cost={"arm": cost.to_dict()}, flops_rule="exact"), "here")
    assert source.flops_of("arm", 1e6, 1e9) == pytest.approx(2e16)
    assert source.flops_of("arm", 1e9, 1.0) == pytest.approx(8e9)


def test_a_report_folder_names_its_fit(tmp_path, written):
    written()
    assert open_source(str(tmp_path)).objectives == ["arm"]
