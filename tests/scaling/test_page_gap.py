"""The section on the gap: never without the word bound, and not there for one objective."""

from __future__ import annotations

import numpy as np

from scaling.reports import rows_of, write
from unmask.scaling.options import ReportOptions
from unmask.scaling.page_gap import source_table
from unmask.scaling.page_parts import plain_power
from unmask.scaling.report import scale_report


def test_beside_every_gap_stands_that_the_loss_is_a_bound(page):
    assert page.count("An MDM's loss is an upper bound".replace("'", "&#x27;")) + page.count("An MDM's loss") >= 4
    assert "SMDM, the paper" in page and "14x" in page and "it ships no runs" in page


def test_one_objective_has_a_report_without_a_gap(tmp_path):
    runs = write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    out = tmp_path / "out"
    scale_report(ReportOptions(str(runs), str(out), resamples=0))
    page = (out / "report.html").read_text()
    assert not (out / "gap.png").exists() and (out / "isoflop.png").exists()
    assert "a gap needs two" in page and "SMDM, the paper" not in page


def test_the_gap_by_source_has_powers_in_its_head():
    row = {"axis": "arm", "flops": 4e12, "form": "overlap", "estimate": 18.9, "low": 15.0, "high": 23.0, "inside": True}
    fit = {"gap": [row], "by_source": {"a<b": {"tokens": 1200, "gap": [row]}, "mail": {"tokens": None, "gap": []}}}
    html = source_table(fit)
    assert f"at ARM {plain_power(4e12)}" in html and "a&lt;b (1,200)" in html and "mail" in html and ">–<" in html
    assert '<b>18.9x</b><br><span class="soft">[15.0, 23.0]</span>' in html and "sup" not in html
    assert source_table({"gap": [row], "by_source": {}}) == ""
