"""`unmask scale fit`: the published C4 runs give the published numbers; what cannot be fitted is null and says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.synthetic import SIZES, csv_of, law_of, runs_of, sweep
from unmask.cli import main
from unmask.scaling.constrained import Muennighoff
from unmask.scaling.fit import in_words, scale_fit
from unmask.scaling.options import FitOptions

SHARED = Path(os.environ.get("UNMASK_SHARED", Path(__file__).resolve().parents[3] / "shared"))
C4 = SHARED / "data" / "scaling" / "c4_isoflop.csv"
needs_c4 = pytest.mark.skipif(not C4.is_file(), reason="the published C4 runs are not there")


def fitted(path: Path, **fields: Any) -> dict[str, Any]:
    found = scale_fit(FitOptions(str(path), **{"resamples": 100} | fields))
    json.dumps(found, allow_nan=False)
    assert in_words(found)
    return found


def gaps(found: dict[str, Any], form: str, axis: str) -> dict[float, dict[str, Any]]:
    return {row["flops"]: row for row in found["gap"] if row["form"] == form and row["axis"] == axis}


@pytest.fixture(scope="module")
def c4() -> dict[str, Any]:
    return fitted(C4, resamples=1000)


@needs_c4
def test_c4_exponents(c4: dict[str, Any]) -> None:
    for name, size, loss in (("arm", 0.535, -0.0547), ("mdm", 0.567, -0.0527)):
        lines = c4["approach2"][name]
        assert lines["n_exponent"]["estimate"] == pytest.approx(size, abs=1e-3)
        assert lines["d_exponent"]["estimate"] == pytest.approx(1 - size, abs=1e-3)
        assert lines["loss_exponent"]["estimate"] == pytest.approx(loss, abs=1e-4)
    for name, values in (("arm", (2.03, 0.303, 0.334)), ("mdm", (2.43, 0.347, 0.341))):
        for field, value in zip(("E", "alpha", "beta"), values, strict=True):
            assert c4["approach3"][name][field]["estimate"] == pytest.approx(value, abs=6e-3)
    assert c4["approach3_shared"]["arm"]["E"]["estimate"] == pytest.approx(2.100, abs=1e-3)


@needs_c4
def test_c4_gaps(c4: dict[str, Any]) -> None:
    for form, axis, low, high, within in (
        ("approach2", "arm", 18.0, 21.4, 0.01),
        ("approach2", "mdm", 16.2, 19.2, 0.01),
        ("approach3", "arm", 15.2, 325, 0.03),
        ("approach3", "mdm", 9.2, 25.3, 0.03),
        ("approach3_shared", "arm", 15.8, 49.6, 0.03),
        ("approach3_shared", "mdm", 9.1, 22.9, 0.03),
    ):
        found = gaps(c4, form, axis)
        assert found[3e18]["estimate"] == pytest.approx(low, rel=within)
        assert found[3e20]["estimate"] == pytest.approx(high, rel=within)
        assert found[3e18]["inside"] == (axis == "arm") and found[3e20]["inside"] == (axis == "mdm")
    overlap = gaps(c4, "overlap", "mdm")
    assert list(overlap) == [6e19, 1e20, 3e20]
    for row, value in zip(overlap.values(), (18.9, 20.7, 19.3), strict=True):
        assert row["estimate"] == pytest.approx(value, rel=0.01) and row["inside"]
        assert row["low"] < row["estimate"] < row["high"]
    assert list(gaps(c4, "overlap", "arm")) == [3e18, 6e18, 1e19]
    beyond = gaps(c4, "approach3", "arm")[1e22]
    assert beyond["estimate"] is None and "E is above" in beyond["why"]


@needs_c4
def test_c4_intervals_of_run_level_resamples(c4: dict[str, Any]) -> None:
    lines, laws = c4["run_level"]["approach2"], c4["run_level"]["approach3"]
    for found, low, high, within in (
        (lines["arm"]["n_exponent"], 0.486, 0.578, 0.01),
        (lines["mdm"]["n_exponent"], 0.528, 0.596, 0.01),
        (lines["arm"]["loss_exponent"], -0.0558, -0.0536, 4e-4),
        (lines["mdm"]["loss_exponent"], -0.0534, -0.0519, 4e-4),
        (laws["arm"]["E"], 1.85, 2.17, 0.04),
        (laws["mdm"]["E"], 2.02, 2.61, 0.09),
    ):
        assert found["low"] == pytest.approx(low, abs=within) and found["high"] == pytest.approx(high, abs=within)


@needs_c4
def test_c4_keys_and_words(c4: dict[str, Any]) -> None:
    for name in ("arm", "mdm"):
        assert {"n_exponent", "n_coefficient", "d_exponent", "loss_exponent"} <= set(c4["approach2"][name])
        assert {"E", "A", "B", "alpha", "beta"} <= set(c4["approach3"][name])
        assert set(c4["approach2"][name]["n_exponent"]) == {"estimate", "low", "high"}
    for row in c4["gap"]:
        assert {"flops", "axis", "form", "estimate", "low", "high", "inside"} <= set(row)
    assert (c4["n_resamples"], c4["flops_rule"], c4["excluded"]) == (1000, "6nd", [])
    assert c4["interval"].startswith("95%, residual bootstrap")
    text = in_words(c4)
    assert "0.535 [" in text and "upper bound" in text and "325x*" in text and "18.9x [" in text
    assert c4["held_out"]["mdm"]["flops"] == 3e20 and abs(c4["held_out"]["mdm"]["approach2"]["error"]) < 0.05


def table(
    folder: Path, *runs: Any, columns: str = "objective,flops,params,tokens,loss,seed", name: str = "r.csv"
) -> Path:
    path = folder / name
    path.write_text(csv_of(*runs, columns=columns), encoding="utf-8")
    return path


def test_our_grid_with_seeds_and_a_plateau(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arm, mdm = sweep("arm", rng, 0.005)[0], sweep("mdm", rng, 0.005, law=law_of("mdm", floor=2.1))[0]
    mdm.plateau[:] = 3e6 * np.exp(rng.normal(0, 0.2, len(mdm)))
    path = table(tmp_path, arm, mdm, columns="objective,flops,params,tokens,loss,seed,plateau")
    found = fitted(path)
    left = [row for row in found["excluded"] if row["objective"] == "mdm"]
    assert left and all(row["tokens"] < 4 * np.median(mdm.plateau) for row in left)
    assert found["all_runs"]["approach2"]["mdm"]["n_exponent"]["estimate"] is not None
    assert found["approach3_excess"]["mdm"]["alpha"]["estimate"] is not None
    assert "plateau" in found["approach3_excess"]["arm"]["why"]
    assert found["scatter"]["arm"]["seed"] == pytest.approx(0.005, rel=0.3) and found["scatter"]["arm"]["agrees"]
    assert "with all runs" in in_words(found)


def test_an_objective_whose_runs_are_all_on_their_plateau_is_null(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arm, mdm = sweep("arm", rng, 0.005)[0], sweep("mdm", rng, 0.005)[0]
    mdm.plateau[:] = 1e12
    path = table(tmp_path, arm, mdm, columns="objective,flops,params,tokens,loss,seed,plateau")
    found = fitted(path, resamples=20)
    assert found["approach2"]["arm"]["n_exponent"]["estimate"] and "left out" in found["approach2"]["mdm"]["why"]
    assert found["approach3"]["mdm"]["E"]["estimate"] is None and "no run of mdm is left" in found["gap"][0]["why"]
    assert found["all_runs"]["approach2"]["mdm"]["n_exponent"]["estimate"] is not None


def test_one_objective_without_budgets_is_fitted_by_approach_3_alone(tmp_path: Path) -> None:
    rng, law = np.random.default_rng(0), law_of("mdm")
    params, tokens = np.exp(rng.uniform(10, 14, 60)), np.exp(rng.uniform(15, 18, 60))
    flops = 6 * params * tokens
    runs = runs_of("mdm", flops, params, law.loss(params, tokens) * np.exp(rng.normal(0, 0.002, 60)), tokens)
    found = fitted(table(tmp_path, runs))
    assert found["approach2"]["mdm"]["n_exponent"]["estimate"] is None
    assert "budgets are not repeated" in found["approach2"]["mdm"]["why"]
    assert found["approach3"]["mdm"]["alpha"]["estimate"] == pytest.approx(law.alpha, abs=0.03)
    assert found["interval"] == "95%, run-level bootstrap" and found["approach3"]["mdm"]["alpha"]["low"] is not None
    assert len(found["gap"]) == 1 and found["gap"][0]["estimate"] is None and "one objective" in found["gap"][0]["why"]


def test_no_overlap_is_null_and_the_rest_is_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    high = sweep("mdm", rng, 0.003, law=law_of("mdm", floor=5.0))[0]
    found = fitted(table(tmp_path, sweep("arm", rng, 0.003)[0], high))
    (overlap,) = [row for row in found["gap"] if row["form"] == "overlap"]
    assert overlap["estimate"] is None and "no loss was reached" in overlap["why"]
    assert gaps(found, "approach2", "arm")[1e12]["estimate"] > 1


def test_too_few_budgets_or_sizes_say_what_is_missing(tmp_path: Path) -> None:
    law = law_of("arm")
    params = np.array(SIZES[2:7])
    one = runs_of("arm", np.full(5, 8e12), params, law.loss(params, 8e12 / 6 / params))
    found = fitted(table(tmp_path, one))
    assert "two budgets" in found["approach2"]["arm"]["why"] and "2 budgets or more" in found["approach3"]["arm"]["why"]
    flops = np.repeat([1e12, 4e12, 1.6e13], 2)
    two = runs_of(
        "arm", flops, np.tile(params[:2], 3), law.loss(np.tile(params[:2], 3), flops / 6 / np.tile(params[:2], 3))
    )
    found = fitted(table(tmp_path, two))
    assert any(row["problem"] == "too few sizes" for row in found["diagnostics"])
    assert "3 sizes" in found["approach3"]["arm"]["why"]


def test_diagnostics_name_narrow_grids_wrong_ways_and_strays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs, law = sweep("arm", rng, 0.002)
    narrow = np.array(SIZES[:4])
    more = runs_of("arm", np.full(4, 2.56e14), narrow, law.loss(narrow, 2.56e14 / 6 / narrow))
    wrong = runs_of("arm", np.full(4, 1e15), narrow, [2.1, 2.2, 2.21, 2.1])
    runs.loss[8] += 0.2
    found = fitted(table(tmp_path, runs, more, wrong))
    problems = {(row["problem"], row["flops"]) for row in found["diagnostics"]}
    assert ("grid too narrow", 2.56e14) in problems and ("opens the wrong way", 1e15) in problems
    assert any(problem == "a run strays" for problem, _ in problems)
    counts = {row["flops"]: row["counts"] for row in found["minima"]["arm"]}
    assert not counts[2.56e14] and not counts[1e15] and counts[8e12]


def test_exact_flops_give_both_exponents(tmp_path: Path) -> None:
    law, rows = law_of("mdm"), []
    for flops in (1e13, 4e13, 1.6e14):
        for params in np.geomspace(2e4, 4e6, 9):
            each = 6 * params + 1e6
            rows.append((flops, params, float(law.loss(params, flops / each)), flops / each))
    flops_R, params_R, loss_R, tokens_R = zip(*rows, strict=True)
    found = fitted(table(tmp_path, runs_of("mdm", flops_R, params_R, loss_R, tokens_R)), resamples=0)
    assert found["flops_rule"] == "exact" and found["interval"] == "none"
    lines = found["approach2"]["mdm"]
    assert lines["m_exponent"]["estimate"] < lines["n_exponent"]["estimate"] - 0.02
    assert lines["m_exponent"]["estimate"] + lines["d_exponent"]["estimate"] == pytest.approx(1, abs=1e-6)
    assert found["approach3"]["mdm"]["alpha"]["estimate"] == pytest.approx(law.alpha, abs=1e-3)


def test_repeated_data_takes_no_part_and_gives_its_own_law(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fresh, law = sweep("mdm", rng, 0.001)
    epochs = np.array([2, 4, 8, 16, 32, 64, 128.0])
    params, unique = np.full(7, SIZES[6]), np.full(7, 5e6)
    tokens = epochs * unique
    loss = Muennighoff(law, 20.0).loss(params, tokens, unique)
    repeated = runs_of("mdm", 6 * params * tokens, params, loss, tokens, unique=unique)
    columns = "objective,flops,params,tokens,loss,seed,unique"
    found = fitted(table(tmp_path, fresh, repeated, columns=columns), resamples=20)
    assert found["runs"]["n"] == {"mdm": len(fresh)}
    assert found["constrained"]["mdm"]["muennighoff"]["R_D"]["estimate"] == pytest.approx(20, rel=0.15)
    assert found["constrained"]["mdm"]["quokka"]["best_epochs"]["estimate"] > 20
    assert "repeated data" in in_words(found)
    (study,) = found["repeated"]
    assert study["series"][0]["epochs"] == epochs.tolist() and study["series"][0]["checkpoints"] == []
    assert "best until then" in in_words(found) and f"{loss[0]:.4f}" in in_words(found)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = table(tmp_path, sweep("arm", rng, 0.005)[0], sweep("mdm", rng, 0.005)[0])
    words = [
        "scale",
        "fit",
        str(path),
        "--resamples",
        "50",
        "--json",
        "--pair",
        "mdm",
        "arm",
        "--exclude",
        "flops<2e12",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "fit.json")])
    shown = capsys.readouterr()
    assert ended.value.code in (0, None)
    found = json.loads(shown.out)
    assert found["pair"] == ["mdm", "arm"] and found["excluded"] and "fit |" in shown.err
    stored = json.loads((tmp_path / "fit.json").read_text())
    assert len(stored["draws"]["approach2"]["mdm"]["n_exponent"]) == 50
    for wrong, said in (
        ((str(tmp_path / "no.csv"),), "cannot be read"),
        ((str(path), "--pair", "arm", "mdx"), "did you mean 'mdm'"),
        ((str(path), "--resamples", "-1"), "--resamples is -1"),
        ((str(path), "--exclude", "loss"), "is no condition"),
        ((str(path), "--out", str(tmp_path)), "is a folder"),
        ((str(path), "--resample", "3x"), "--resamples"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["scale", "fit", *wrong])
        shown = capsys.readouterr()
        assert ended.value.code == 2 and said in shown.err and shown.out == "", wrong
        assert [line for line in shown.err.splitlines() if "unmask: error" in line] == shown.err.splitlines()[-1:]


@needs_c4
@pytest.mark.slow
def test_defaults_end_within_45_seconds_on_either_kind_of_file(tmp_path: Path) -> None:
    rng, law = np.random.default_rng(0), law_of("mdm")
    params, tokens = np.exp(rng.uniform(17, 23, 240)), np.exp(rng.uniform(20, 26, 240))
    runs = runs_of("mdm", 6 * params * tokens, params, law.loss(params, tokens) + rng.normal(0, 0.01, 240), tokens)
    for path in (C4, table(tmp_path, runs)):
        command = [sys.executable, "-m", "unmask", "scale", "fit", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=45, check=True)
        assert json.loads(done.stdout)["n_resamples"] == 1000
