"""The gap by source: the fit of the same runs to their losses on a part of the held-out text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scaling.fitting import fitted, gaps
from scaling.synthetic import sweep
from unmask.scaling.fit import in_words
from unmask.scaling.options import ReportOptions
from unmask.scaling.report import scale_report
from unmask.scaling.table import Runs

FIELDS = ("objective", "flops", "params", "tokens", "loss", "seed")


def written(folder: Path, *tables: Runs, late: float = 1.0) -> Path:
    """A sweep's results with the sources `all` (the whole text), `late` (the MDM learns it so much more slowly) and, of
    the ARM's rows alone, `arms`."""
    lines = []
    for runs in tables:
        for i in range(len(runs)):
            row = {name: getattr(runs, name)[i] for name in FIELDS}
            slow = row["loss"] * (late if row["objective"] == "mdm" else 1.0)
            row["sources"] = {"all": {"loss": row["loss"]}, "late": {"loss": slow, "tokens": 7}}
            if row["objective"] == "arm":
                row["sources"]["arms"] = {"loss": 1.0, "tokens": 1}
            lines.append(json.dumps(row))
    path = folder / "results.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_each_source_has_the_gap_of_its_own_losses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = written(tmp_path, sweep("arm", rng, 0.003)[0], sweep("mdm", rng, 0.003)[0], late=1.02)
    found = fitted(path)
    whole = [row for row in found["gap"] if row["form"] == "overlap"]
    assert whole and list(found["by_source"]) == ["all", "late"]  # of `arms` not every run tells
    assert found["by_source"]["all"] == {"tokens": None, "gap": whole}  # rows need not tell of how many
    slower = {(row["axis"], row["flops"]): row["estimate"] for row in found["by_source"]["late"]["gap"]}
    for axis in ("arm", "mdm"):
        for flops, row in gaps(found, "overlap", axis).items():
            if (axis, flops) in slower:
                assert slower[axis, flops] > 1.1 * row["estimate"]
    assert "gap by source" in in_words(found) and "late (7)" in in_words(found)
    scale_report(ReportOptions(str(path), str(tmp_path / "out"), resamples=0))
    assert "By source of the held-out text" in (tmp_path / "out" / "report.html").read_text()


def test_rows_that_tell_of_no_source_have_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = written(tmp_path, sweep("arm", rng, 0.003)[0])
    assert fitted(path)["by_source"] == {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for row, other in zip(lines, [None, 3, {"all": 4.0}, {"all": {"loss": "x"}}] * len(lines), strict=False):
        row["sources"], row["objective"] = other, "mdm" if row["flops"] == lines[0]["flops"] else "arm"
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    assert fitted(path, resamples=0)["by_source"] == {}
