"""The page of a report stands alone, and says what is missing."""

from __future__ import annotations

import re

import numpy as np

from scaling.reports import rows_of, write
from unmask.scaling.options import ReportOptions
from unmask.scaling.report import scale_report


def test_the_page_asks_no_network_and_shows_every_picture(page):
    assert page.count("<svg") == 5
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(\s*['\"]?http", page)
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_a_report_of_runs_without_budgets_says_what_is_missing(tmp_path):
    rows = [row for row in rows_of("arm", np.random.default_rng(0)) if row["params"] == 16 * 2 * 64**2]
    out = tmp_path / "out"
    scale_report(ReportOptions(str(write(tmp_path / "few.csv", rows)), str(out), resamples=0))
    page = (out / "report.html").read_text()
    assert "What could not be fitted" in page and "it takes three sizes at each" in page
    assert (out / "isoflop.svg").exists() and not (out / "frontier.svg").exists()
