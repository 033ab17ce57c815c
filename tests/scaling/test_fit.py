"""`unmask scale fit`: the published C4 runs give the published numbers; what cannot be fitted is null and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.fitting import C4, fitted, needs_c4, table
from scaling.synthetic import law_of, runs_of, sweep
from unmask.cli import main
from unmask.scaling.fit import in_words


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
