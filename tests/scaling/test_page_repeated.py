"""The section on repeated data."""

from __future__ import annotations

import json

from scaling.reports import UNIQUE


def test_repeated_data_has_its_crossing_and_is_no_part_of_the_laws(made, page):
    fit = json.loads((made / "fit.json").read_text())
    (study,) = fit["view"]["repeated"]
    crossing = study["crossing"]
    assert crossing["lowest"] == 4.35 and crossing["lowest_at"] == 5 and 16 < crossing["epochs"] < 64
    assert "final weights" in page and "4.3500 at 5" in page and fit["repeated"] == fit["view"]["repeated"]
    assert "0.5M unique tokens" in page and "comes below the ARM" in page
    assert max(run["tokens"] / run["params"] for run in fit["view"]["runs"]) < UNIQUE * 256 / 443_040 * 10
    assert not any(run["loss"] in (4.4, 4.2) for run in fit["view"]["runs"])
