"""The picture of the gap: a panel an axis, and no line far beyond what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.scaling.gap_figure import FARTHEST, gap_figure


def test_a_panel_an_axis_with_lines_as_far_as_they_can_be_trusted(made: Path) -> None:
    view = json.loads((made / "fit.json").read_text())["view"]
    figure = gap_figure(view)
    assert [axes.get_title("left") for axes in figure.axes][:2] == ["by ARM compute", "by MDM compute"]
    assert "an upper bound" in figure.axes[0].get_ylabel()
    for axes, axis in zip(figure.axes, ("arm", "mdm"), strict=False):
        measured = max(row["flops"] for row in view["gap"] if row["axis"] == axis and row["inside"])
        lines = [line.get_xdata() for line in axes.get_lines() if str(line.get_label()).startswith("approach")]
        assert any(len(x) for x in lines) and max(max(x) for x in lines if len(x)) <= FARTHEST * measured
    low, high = figure.axes[0].get_ylim()
    steady = [row["estimate"] for row in view["gap"] if row["form"] == "overlap" and row["estimate"] is not None]
    assert steady and low < min(steady) and max(steady) < high


def test_what_others_measured_far_away_stands_in_a_panel_of_its_own(made: Path) -> None:
    view = json.loads((made / "fit.json").read_text())["view"]
    row = {"flops": 1e21, "axis": "mdm", "form": "overlap", "estimate": 15.0, "low": None, "high": None}
    view["beside"] = [{"name": "others", "gap": [row], "until": 1e22}]
    figure = gap_figure(view)
    assert figure.axes[-1].get_title("left") == "what others measured"
    (points,) = [line for line in figure.axes[-1].get_lines() if line.get_label() == "others, minima"]
    assert points.get_ydata()[0] == pytest.approx(15)
