"""The report of a synthetic sweep with a plateau and repeated data: its files, its page, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaling.reports import LATER, rows_of, write
from unmask.errors import UserError
from unmask.scaling import report
from unmask.scaling.options import PredictOptions, ReportOptions
from unmask.scaling.predict import scale_predict
from unmask.scaling.report import scale_report


def test_fit_json_holds_numbers_alone_and_what_predictions_ask(made):
    fit = json.loads((made / "fit.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert {"draws", "ranges", "cost", "gap", "approach2", "view"} <= set(fit)
    answer = scale_predict(PredictOptions(flops=3e13, source=str(made)))["objectives"]["mdm"]
    assert answer["loss"]["low"] < answer["loss"]["estimate"] < answer["loss"]["high"]
    index = [c for c in fit["view"]["frontier"]["mdm"]["flops"] if c >= 3e13][0]
    place = fit["view"]["frontier"]["mdm"]["flops"].index(index)
    assert answer["loss"]["estimate"] == pytest.approx(
        fit["view"]["frontier"]["mdm"]["loss"]["estimate"][place], rel=0.03
    )


def test_a_later_run_is_laid_over_what_the_fit_says_of_it(made, page):
    fit = json.loads((made / "fit.json").read_text())
    (found,) = fit["view"]["over"]
    line, law = found["predicted"].values()
    exponent, coefficient = (
        fit["approach2"]["mdm"][f"loss_{part}"]["estimate"] for part in ("exponent", "coefficient")
    )
    assert line["estimate"] == pytest.approx(coefficient * 6e14**exponent) and line["low"] < line["high"]
    assert law["low"] < law["estimate"] < law["high"]
    assert found["inside"] is False and "; extrapolated" in page
    assert max(fit["view"]["frontier"]["mdm"]["flops"]) >= 6e14
    assert "later run over the prediction" in page and f"{3.7 - law['estimate']:+.4f}" in page


def test_a_later_run_of_an_objective_that_was_not_fitted_is_refused(tmp_path, monkeypatch):
    runs = write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    monkeypatch.setattr(report, "read_later", lambda run, rule: dict(LATER))
    with pytest.raises(UserError, match="--over large is an mdm, and the fit has arm"):
        scale_report(ReportOptions(str(runs), str(tmp_path / "out"), resamples=0, over=["runs/large"]))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"out": "taken"}, "is a file; give a folder"),
        ({"out": "nowhere/out"}, "there is no folder"),
        ({"beside": ["one.csv"]}, "--beside .* has no gap"),
        ({"beside": ["nothing.json"]}, "--beside .* cannot be read"),
        ({"over": ["."]}, "is no run: it has no recipe.yaml"),
        ({"runs": "nothing.csv"}, "cannot be read"),
        ({"resamples": -1}, "--resamples is -1"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(table, tmp_path, monkeypatch, changes, says):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=says) as caught:
        scale_report(ReportOptions(**{"runs": str(table), "out": "out", "resamples": 0} | changes))
    assert "\n" not in str(caught.value) and sorted(tmp_path.iterdir()) == before


def test_the_commands_in_processes_of_their_own(tmp_path):
    table = write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    command = [sys.executable, "-m", "unmask", "scale"]
    words = ["report", str(table), "--out", str(tmp_path / "out"), "--resamples", "0", "--json"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"out", "files", "fit"}
    words = ["predict", "--flops", "1e17", "--from", str(tmp_path / "out")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "unmask: warning: arm: 1e17 FLOPs is" in done.stderr
    assert "upper bound" in done.stdout
    done = subprocess.run([*command, "predict", "--params", "1e6"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "unmask: error: --params and --tokens go together; give --tokens as well\n"
