"""Gaps that others measured, laid beside a sweep's own."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.reports import rows_of, write
from unmask.scaling.beside import beside_of, paper_gap
from unmask.scaling.options import ReportOptions
from unmask.scaling.report import scale_report


def test_the_papers_gap_by_our_estimators_is_as_its_facts_say():
    rows = {(row["form"], row["axis"], row["flops"]): row for row in paper_gap()["gap"]}

    def value(form, axis, flops):
        found = [row for key, row in rows.items() if key[:2] == (form, axis) and key[2] == pytest.approx(flops)]
        return found[0]["estimate"]

    for axis, expected in (("arm", (15.3, 16.4, 17.4)), ("mdm", (14.2, 15.3, 16.2))):
        for flops, gap in zip((6e18, 1e20, 1e21), expected, strict=True):
            assert value("approach2", axis, flops) == pytest.approx(gap, abs=0.06)
    assert value("overlap", "arm", 6e18) == pytest.approx(15.2, abs=0.1)


def test_other_runs_lie_beside_under_the_names_of_the_pair(table, made):
    paper, other, again = beside_of([str(table), str(made)], ("arm", "mdm"), resamples=0)
    assert (paper["name"], other["name"], again["name"]) == ("SMDM, the paper", "sweep", "sweep")
    assert {row["axis"] for row in other["gap"]} == {"arm", "mdm"} and other["until"] == pytest.approx(2.56e14)
    assert [row["estimate"] for row in again["gap"]] == pytest.approx([row["estimate"] for row in other["gap"]])
    renamed = beside_of([str(table)], ("ar", "masked"), resamples=0)
    assert {row["axis"] for part in renamed for row in part["gap"]} == {"ar", "masked"}
    assert beside_of([], ("duo", "mdm"), resamples=0) == []


def test_the_withdrawn_source_is_said_wherever_it_is_named(table, tmp_path):
    named = tmp_path / "c4_isoflop.csv"
    named.write_bytes(table.read_bytes())
    (_, other) = beside_of([str(named)], ("arm", "mdm"), resamples=0)
    assert "withdrawn in April 2026" in other["notes"][0]
    write(named, rows_of("arm", np.random.default_rng(0)))
    scale_report(ReportOptions(str(named), str(tmp_path / "out"), resamples=0))
    assert "withdrawn in April 2026" in (tmp_path / "out" / "report.html").read_text()
