"""Reading runs: any CSV, our results, TensorBoard logs; every mistake is one line that names where it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scaling.tables import HEAD, written
from unmask.errors import UserError
from unmask.scaling.table import read_runs


def test_tokens_come_from_six_nd_and_columns_in_any_order(tmp_path: Path) -> None:
    path = written(
        tmp_path, "\ufeffLoss, params ,objective,flops,colour\n3.1,1e6,mdm,6e15,red\n\n3.0,2e6,mdm,6e15,blue\n"
    )
    runs, gone = read_runs(path)
    assert runs.tokens.tolist() == [1e9, 5e8] and not gone and runs.flops_rule == "6nd"
    assert runs.objective.tolist() == ["mdm", "mdm"] and list(runs.where) == ["line 2", "line 4"]
    assert np.isnan(runs.plateau).all() and not runs.repeats.any()


def test_rows_may_carry_exact_flops(tmp_path: Path) -> None:
    head = "objective,flops,params,tokens,loss,seed,trunk,se,plateau,unique\n"
    runs, _ = read_runs(
        written(tmp_path, head + "mdm,1e16,1e6,1e9,3.1,0,t,0.01,2e6,\nmdm,1e16,1e6,1e9,3.2,1,t,,,5e8\n")
    )
    assert runs.flops_rule == "exact" and runs.repeats.tolist() == [False, True]
    assert runs.trunk.tolist() == ["t", "t"] and runs.plateau[0] == 2e6


def test_diverged_runs_are_left_out_with_their_reason(tmp_path: Path) -> None:
    runs, gone = read_runs(written(tmp_path, HEAD + "arm,1e18,1e8,3\narm,1e18,2e8,nan\narm,1e18,4e8,inf\n"))
    assert len(runs) == 1 and [row.where for row in gone] == ["line 3", "line 4"]
    assert all("diverged" in row.reason and row.to_dict()["loss"] is None for row in gone)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("objective,flops,size,loss\narm,1,1,1\n", "no column 'params'"),
        ("objective,flops,parms,loss\narm,1,1,1\n", "did you mean 'parms'"),
        ("objective,flops,params,loss,loss\narm,1,1,1,1\n", "'loss' stands there twice"),
        (HEAD, "holds no runs"),
        ("", "no column 'objective'"),
        (HEAD + "arm,1e18,1e8\n", ":2: 3 cells under 4 columns"),
        (HEAD + "arm,1e18,1e8,0\n", "line 2: loss is 0"),
        (HEAD + "arm,1e18,1e8,-2\n", "line 2: loss is -2"),
        (HEAD + "arm,1e18,1e8,\n", "line 2: loss is empty"),
        (HEAD + "arm,-1,1e8,3\n", "line 2: flops is -1"),
        (HEAD + "arm,1e18,many,3\n", "params is 'many'"),
        (HEAD + "arm,1e18,inf,3\n", "params is inf"),
        (HEAD + ",1e18,1e8,3\n", "objective is empty"),
        (HEAD + "arm,1e18,1e8,nan\n", "every run diverged"),
        (HEAD + "arm,1e18,1e8,3\narm,1e18,1e8,3\n", "line 3 is the same run as line 2"),
        (
            "objective,flops,params,loss,seed\narm,1e18,1e8,3,0\narm,1e18,1e8,3.1,0\n",
            "line 3 is the same run as line 2",
        ),
        ("objective,flops,params,loss,protocol\narm,1e18,1e8,3,a\narm,1e18,2e8,3.1,b\n", "more than one protocol"),
        ("objective,flops,params,loss,validation\narm,1e18,1e8,3,a\narm,1e18,2e8,3.1,b\n", "more than one validation"),
        ("objective,flops,params,tokens,loss\narm,1e18,1e8,1e9,3\narm,1e18,2e8,,3.1\n", "give its tokens"),
        ("objective,flops,params,tokens,loss\narm,1e18,1e8,0,3\n", "tokens is 0"),
    ],
)
def test_bad_tables_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_runs(written(tmp_path, text))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not UTF-8"):
        read_runs(tmp_path / "x.csv")
    with pytest.raises(UserError, match="--tag is of a folder"):
        read_runs(written(tmp_path, HEAD + "arm,1,1,1\n"), tag="loss")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no event files named"):
        read_runs(tmp_path / "empty")


def test_a_sweeps_results(tmp_path: Path) -> None:
    row = {"objective": "mdm", "flops": 1e13, "params": 1e5, "tokens": 2e7, "loss": 4.0, "seed": 0, "trunk": None}
    row |= {"unique_tokens": None, "protocol": {"draws": 8}, "plateau": None, "subset": 0, "state": "finished"}
    rows = [row, row | {"seed": 1, "loss": 4.1}, row | {"state": "aside"}, row | {"subset": 1, "unique_tokens": 5e5}]
    rows += [row | {"seed": 3, "unique_tokens": 5e5, "state": state} for state in ("aside", "failed")]
    written(tmp_path, "".join(json.dumps(r) + "\n" for r in rows), "results.jsonl")
    runs, _ = read_runs(tmp_path)
    assert runs.seed.tolist() == ["0", "1", "0", "3"] and runs.subset.tolist() == ["", "", "1", ""]
    assert runs.repeats.tolist() == [False, False, True, True]
    assert runs.apart.tolist() == [False, False, False, True]  # of what is set aside only repeated data is read
    written(
        tmp_path,
        json.dumps(row) + "\n" + json.dumps(row | {"protocol": {"draws": 4}, "seed": 2}) + "\n",
        "results.jsonl",
    )
    with pytest.raises(UserError, match="more than one protocol"):
        read_runs(tmp_path)
    written(tmp_path, json.dumps(row) + "\n{half", "results.jsonl")
    with pytest.raises(UserError, match=":2: no JSON object"):
        read_runs(tmp_path)
