"""One palette: colours that are told apart, by day and by night."""

from __future__ import annotations

import itertools
from pathlib import Path

from unmask.style import AT_NIGHT, COLOURS, IN_TURN, STYLE, drawn, logarithmic


def light(colour: str) -> float:
    """Relative luminance, WCAG 2."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_lines_stand_out_from_their_paper() -> None:
    assert COLOURS.keys() == AT_NIGHT.keys()
    assert all(contrast(colour, "#ffffff") > 3 for colour in COLOURS.values())
    assert all(contrast(colour, "#14161a") > 3 for colour in AT_NIGHT.values())


def test_no_two_are_alike() -> None:
    for a, b in itertools.combinations(IN_TURN, 2):
        assert sum(abs(int(a[i : i + 2], 16) - int(b[i : i + 2], 16)) for i in (1, 3, 5)) > 60


def test_matplotlib_takes_the_style() -> None:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        assert matplotlib.rcParams["svg.hashsalt"] == "unmask"


def test_a_logarithmic_axis_has_few_plain_numbers(tmp_path: Path) -> None:
    with drawn(tmp_path / "a.svg", 3, 3) as (_, grid):
        axes = grid[0, 0]
        axes.plot([1, 2], [3, 4000])
        logarithmic(axes, "y", "{x:,.0f}")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    words = [text.get_text() for text in axes.get_yticklabels()]
    assert {"5", "1,000", "2,000"} <= set(words) and not any(axes.yaxis.get_minorticklabels()[0].get_text())
