"""Small parts of the page: what is not known is a dash, and what comes from outside is escaped."""

from __future__ import annotations

from unmask.scaling.estimates import estimate, nothing
from unmask.scaling.page_parts import bounds, card, cell, known, picture, plain_power, power, within

SURE = {"estimate": 0.535, "low": 0.512, "high": 0.558}


def test_numbers_with_and_without_their_intervals() -> None:
    assert power(3e18) == "3 × 10<sup>18</sup>" and power(1.25e-3) == "1.25 × 10<sup>-3</sup>"
    assert plain_power(4e12).split() == ["4", "×", "10¹²"] and plain_power(1.25e-3).endswith("10⁻³")
    assert within(SURE, ".3f") == "0.535 ± 0.023" and within(estimate(0.5), ".2f") == "0.50"
    assert bounds(SURE, ".2f") == "[0.51, 0.56]" and bounds({"low": 1.0, "high": None}, ".1f") == "[1.0, …]"
    assert bounds(nothing("no runs"), ".2f") == "–"
    assert cell(SURE).startswith("0.535<br>") and cell(estimate(1234.5)) == "1,234"
    assert cell(nothing("no runs")) == cell(None) == "–"


def test_what_a_fit_knows() -> None:
    entry = {"E": SURE, "A": nothing("no runs"), "why": "it was not asked"}
    assert [known(entry, key) for key in ("E", "A", "B", "why")] == [True, False, False, False]
    assert not known(None, "E")


def test_cards_and_pictures() -> None:
    made = card("<b>", "1 & 2", "a < b", "red; }")
    assert "&lt;b&gt;" in made and "1 &amp; 2" in made and "a &lt; b" in made and "red" not in made
    assert picture(None, "nothing") == "" and "<svg/>" in picture("<svg/>", "what to see")
