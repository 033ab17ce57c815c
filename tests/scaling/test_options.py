"""What the verbs of `unmask scale` take."""

from __future__ import annotations

import pytest

from unmask.errors import UserError
from unmask.scaling.options import FitOptions, PlanOptions, PredictOptions, ReportOptions, RunOptions, shard_of


def test_a_report_s_fit_is_the_fit_of_the_same_options() -> None:
    words = "runs.csv --pair a b --exclude x<1 --resamples 7 --seed 3 --tag t".split()
    report, _ = ReportOptions.from_words([*words, "--out", "there"], "unmask scale report")
    assert report.fit == FitOptions.from_words(words, "unmask scale fit")[0]
    assert report.fit.pair == ("a", "b")


def test_shards() -> None:
    assert shard_of("3/8") == (3, 8)
    for text in ("0/8", "9/8", "3", "3/8/1"):
        with pytest.raises(UserError, match="give I/N"):
            RunOptions("plan", "out", shard=text)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--objective mdm", "--flops is missing: a part needs --objective, --flops, --size"),
        ("--seeds 0", "--seeds is 0; give at least 1"),
        ("--seconds -1", "--seconds is -1.0; give at least 0"),
    ],
)
def test_a_part_needs_all_of_its_options(words: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        PlanOptions.from_words(words.split(), "unmask scale plan")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "give one of --flops, --loss"),
        ({"flops": 1e20, "loss": 3.0}, "give one of --flops, --loss"),
        ({"params": 1e9}, "give --tokens as well"),
        ({"loss": 3.0, "unique": 1e9}, "--unique does not go with --loss"),
    ],
)
def test_a_prediction_asks_one_thing(fields: dict[str, float], line: str) -> None:
    with pytest.raises(UserError, match=line):
        PredictOptions(**fields).check()
