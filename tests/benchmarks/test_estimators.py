"""`benchmarks.estimators`: bias and spread of each estimator against exact values."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.estimators import StudyOptions, study
from benchmarks.estimators import in_words as study_in_words
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.model.folder import Model


def test_a_study(model: Model, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for i in range(12):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"Text {i} says that {i} is {i} and {i + 1} is not. " * 4)
    prepare(
        PrepareOptions(
            sources=[str(tmp_path / "texts")], out=str(tmp_path / "data"), tokenizer="bytes", split="random:0.3"
        )
    )
    options = StudyOptions(
        str(model.path), str(tmp_path / "data"), items=3, length=6, repeats=3, plot=str(tmp_path / "p.png")
    )
    result = study(options)
    assert len(result["exact_nats"]) == 3 and (tmp_path / "p.png").stat().st_size > 10_000
    rows = {(row["method"], row["order"], row["draws"]): row for row in result["rows"]}
    fixed, bernoulli = (rows[method, "left-to-right", 32] for method in ("mc-fixed", "mc-bernoulli"))
    assert abs(fixed["bias"]) < 5 * fixed["bias_se"] + 0.1 and 0 < fixed["sd"] < bernoulli["sd"]
    assert rows["mc-fixed", "left-to-right", 64]["coverage"] == 1.0, "63 masks are all there are"
    assert "until-se" in study_in_words(result)
    with pytest.raises(UserError, match="length is 13; give 2 to 12"):
        study(StudyOptions(str(model.path), "x", length=13))
