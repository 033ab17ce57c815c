"""Ablations in their order, as a table and as bars."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.experiments.reversal.ablated import draw, gathered, known, table

pytest.importorskip("matplotlib")


WAY = {"order": "confidence", "guidance": 0.4, "steps": None, "blind": "prompt"}


def result(name: str, share: float, group: str = "own") -> dict[str, Any]:
    figure = {"estimate": share, "low": share / 2, "high": (1 + share) / 2}
    guided = {"name_accuracy": {"estimate": 0.9, "low": 0.85, "high": 0.95}}
    figures = {direction: {"name_accuracy": figure} for direction in ("trained", "reversed")}
    return {
        "ablation": name, "seeds": [0], "command": f"--set ablation={name}", "commit": "abc",
        "choices": {group: {"start": group, "choices": {group: {"mdm": {"checkpoint": 6000, "name": WAY}}}}},
        "material": {group: {"name_tokens": 2.0}},
        "runs": {group: {"mdm": {"steps": 6000, "flops": 1e12, "at_guidance": {"0.8": {"reversed": guided}}}}},
        "headline": {"own": {"mdm": figures}} if group == "own" else {"mdm": figures},
    }  # fmt: skip


def test_they_stand_in_the_order_of_the_list_and_unknown_ones_last() -> None:
    names = ["gone", "wide", "name-spans", "reference"]
    found = gathered({}, [result(name, 0.5, "original" if "spans" in name else "own") for name in names])
    assert list(found) == ["reference", "name-spans", "wide", "gone"]
    assert found["name-spans"]["set"] == "original"
    assert "no longer in the list" in table(found) and known()["wide"]["why"] in table(found)
    assert "| 50% [25, 75] | 50% [25, 75] | 90% [85, 95] |  |  |  | confidence, w 0.4, a token a pass | 6,000 |" in (
        table(found)
    )


def test_bars_reach_as_far_as_the_shares() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw(axes, gathered({}, [result("reference", 0.4), result("wide", 0.8)]))
    assert [bar.get_width() for bar in axes.patches] == [40.0, 80.0, 90.0, 90.0]
    assert 40.0 in [place for line in axes.lines for place in line.get_xdata()]  # the reference
