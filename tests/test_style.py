"""One palette: colours that are told apart, by day and by night."""

from __future__ import annotations

import itertools

from unmask.style import AT_NIGHT, COLOURS, IN_TURN, STYLE


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
