"""Which runs of a table take part in a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling.tables import HEAD, written
from unmask.errors import UserError
from unmask.scaling.selection import chosen_pair, exclude, exclude_plateau
from unmask.scaling.table import read_runs


def test_conditions_leave_runs_out(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "arm,1e18,1e8,3\nmdm,1e18,1e8,3.5\nmdm,3e18,1e8,3.4\nmdm,3e18,2e8,3.3\n")
    runs, _ = read_runs(path)
    kept, out = exclude(runs, ["objective=mdm,flops<3e18", "params>=2e8"])
    assert kept.loss.tolist() == [3.0, 3.4] and [row.reason[:9] for row in out] == ["--exclude"] * 2
    assert len(exclude(runs, ["flops<=1e18"])[0]) == 2 and len(exclude(runs, ["objective!=mdm"])[0]) == 3
    for words, said in (
        ("flops~3", "is no condition"),
        ("flop<3", "did you mean 'flops'"),
        ("flops<many", "give a number"),
        ("objective<arm", "by = or !="),
        ("flops<1", "no run meets it"),
        ("flops>1", "leaves no run"),
    ):
        with pytest.raises(UserError, match=said):
            exclude(runs, [words])


def test_runs_near_their_plateau_are_left_out_by_tokens_and_the_reference_is_kept(tmp_path: Path) -> None:
    head = "objective,flops,params,tokens,loss,plateau\n"
    rows = "arm,6e15,1e6,1e9,3,1e9\nmdm,6e15,1e6,1e9,3.9,2e8\nmdm,6e14,1e6,1e8,3.5,3e8\nmdm,5e15,1e6,8.4e8,9,\n"
    runs, _ = read_runs(written(tmp_path, head + rows))
    kept, out = exclude_plateau(runs, "arm")  # the median D0 is 2.5e8: 1e9 tokens are just enough
    assert kept.loss.tolist() == [3.0, 3.9] and [row.loss for row in out] == [3.5, 9.0]
    assert "fewer than 4 x the plateau's 2.5e+08" in out[0].reason


def test_the_pair(tmp_path: Path) -> None:
    assert chosen_pair(["mdm", "arm", "udm"], None)[0] == ("arm", "mdm")
    assert chosen_pair(["b", "a"], None)[0] == ("b", "a") and chosen_pair(["b", "a"], ("a", "b"))[0] == ("a", "b")
    assert "one objective, mdm" in str(chosen_pair(["mdm"], None)[1])
    assert "--pair A B" in str(chosen_pair(["a", "b", "c"], None)[1])
    with pytest.raises(UserError, match="did you mean 'mdm'"):
        chosen_pair(["mdm", "arm"], ("arm", "mdn"))
    with pytest.raises(UserError, match="twice"):
        chosen_pair(["mdm", "arm"], ("arm", "arm"))
