"""What a report draws, as plain numbers."""

from __future__ import annotations

import json


def test_runs_of_the_plateau_are_left_out_with_their_reason_and_drawn_hollow(made, page):
    fit = json.loads((made / "fit.json").read_text())
    hollow = [run for run in fit["view"]["runs"] if run["excluded"]]
    assert len(hollow) == len(fit["excluded"]) > 0
    assert all(run["objective"] == "mdm" and run["tokens"] < 4 * 1.6e6 for run in hollow)
    assert "fewer than 4 x the plateau" in page and "with all runs" in page
