"""What the pictures of a report share."""

from __future__ import annotations

import pytest

from unmask.scaling.figure_parts import legend_below, log_axis, new_figure, plain_ticks


@pytest.mark.parametrize("limits", [(1.0, 1.6), (2.0, 5.0), (1.0, 12.0), (0.5, 500.0)])
def test_an_axis_that_spans_little_has_several_ticks_as_plain_numbers(limits: tuple[float, float]) -> None:
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    plain_ticks(axes)
    figure.draw_without_rendering()
    low, high = limits
    inside = [label.get_text() for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
    assert len(inside) >= 3 and all("$" not in text and float(text) > 0 for text in inside)


def test_one_legend_names_what_several_panels_share_once() -> None:
    figure = new_figure(6, 3)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.plot([1, 10], [1, 2], label="arm")
        log_axis(axes, "FLOPs")
    right.plot([1, 10], [2, 1], label="mdm")
    legend_below(figure, left, right)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["arm", "mdm"]
    assert left.get_xscale() == "log" and left.get_xlabel() == "FLOPs"
