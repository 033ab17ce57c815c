"""The shell of pages: self-contained, with the palette by day and by night, tables that fit a narrow screen."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from unmask.pages import confidence_colour, inline_svg, page, section, svg_of, table
from unmask.style import AT_NIGHT, COLOURS, STYLE


class Balance(HTMLParser):
    """Raises where a tag is closed that is not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_asks_for_nothing_and_closes_what_it_opens() -> None:
    text = page("a < b", [section("x & y", table(["a", "b"], [["1", "2"]], numbers=[1]))])
    reader = Balance()
    reader.feed(text)
    assert reader.open == []
    assert "<title>a &lt; b</title>" in text and "<h2>x &amp; y</h2>" in text
    assert not re.search(r"(src|href)=|@import|url\(", text)
    for colours in (COLOURS, AT_NIGHT):
        assert all(f"--{name}: {colour};" in text for name, colour in colours.items())
    assert "PALETTE" not in text and "COLOURS" not in text and "DARK" not in text


def test_wide_tables_become_lists_where_there_is_no_room() -> None:
    narrow, wide = table(["a"], [["1"]]), table(["a", "b", "c", "<d>"], [["1", "2", "3", "4"]])
    assert "class=stack" not in narrow and "class=stack" in wide
    assert 'data-name="&lt;d&gt;"' in wide and "data-name" not in narrow


def test_a_picture_takes_the_colours_of_its_page() -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure()
        figure.subplots().plot([0, 1], color=COLOURS["mdm"])
        text = inline_svg(svg_of(figure), "a line & its label")
    assert text.startswith("<svg") and 'aria-label="a line &amp; its label"' in text
    assert f"var(--mdm, {COLOURS['mdm']})" in text and "pt\"" not in text[: text.index(">")]


def test_confidence_goes_from_red_to_green_within_its_ends() -> None:
    assert confidence_colour(0) == "rgb(248, 180, 170)" and confidence_colour(1) == "rgb(158, 217, 165)"
    assert confidence_colour(-1) == confidence_colour(0) and confidence_colour(0.4) != confidence_colour(0.6)
