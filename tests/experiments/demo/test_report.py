"""The page says what the summary says, stands alone, and cannot be broken by what a model writes."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from unmask.experiments.demo.report import power, render


class Page(HTMLParser):
    VOID = ("meta", "br", "img", "link", "path", "use", "rect", "circle")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_written_page_is_the_summary_rendered(demo_run: Path, summary: dict[str, Any]) -> None:
    page = (demo_run / "report.html").read_text(encoding="utf-8")
    strip = re.compile(r"<svg.*?</svg>", re.S)  # ids inside are matplotlib's
    assert strip.sub("", page) == strip.sub("", render(summary))


def test_it_is_well_formed_and_stands_alone(summary: dict[str, Any]) -> None:
    page = Page(render(summary))
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "img")
        for name, value in attributes.items():
            assert name not in ("src", "srcset") and not (name.endswith("href") and not str(value).startswith("#"))
            assert not name.startswith("on")
    assert "@import" not in render(summary) and "url(http" not in render(summary)
    assert [tag for tag, _ in page.tags].count("svg") == 2


NUMBERS: list[tuple[tuple[str, ...], Any, str]] = [
    (("mdm", "bits_per_byte"), 7.1234567, "7.123"),
    (("mdm", "bits_per_byte_se"), 0.04321, "0.0432"),
    (("mdm", "bits_per_byte_interval"), [7.0123, 7.9876], "95%: 7.012 to 7.988"),
    (("cloze", "arm", "interval"), [0.1234, 0.5678], "95%: 12.3% to 56.8%"),
    (("arm", "bits_per_byte"), 6.7654321, "6.765"),
    (("unigram", "bits_per_byte"), 9.8761234, "9.876"),
    (("xz", "bits_per_byte"), 5.4321999, "5.432"),
    (("cloze", "mdm", "accuracy"), 0.98765, "98.8%"),
    (("protocol", "windows"), 987654, "987654"),
    (("stages", "mdm", "seconds"), 98765.4, "98,765.4"),
    (("stages", "arm", "peak_memory_bytes"), 54321 * 2**20, "54,321"),
    (("training", "arm", "step"), 8765432, "8,765,432"),
]


def test_numbers_come_from_the_summary(summary: dict[str, Any]) -> None:
    """All at once: no two are alike."""
    before = Page(render(summary)).text
    changed = copy.deepcopy(summary)
    for path, value, _ in NUMBERS:
        inner = changed
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
    after = Page(render(changed)).text
    for path, _, shown in NUMBERS:
        assert shown not in before and shown in after, path


def test_what_a_model_writes_is_escaped(summary: dict[str, Any]) -> None:
    evil = "<script>alert('x')</script><b>&amp;"

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            # Keys that are texts of models, prompts, names of files and processors.
            return {k: evil if isinstance(v, str) and k != "state" else poison(v) for k, v in value.items()}
        return [poison(v) for v in value] if isinstance(value, list) else value

    changed = {**summary, **{name: poison(summary[name]) for name in ("samples", "data", "versions")}}
    changed["speed"]["processor"] = evil
    page = render(changed)
    assert "<script" not in page and page.count("&lt;script&gt;") > 20
    assert Page(page).open == [] and evil in Page(page).text


def test_control_characters_become_visible(summary: dict[str, Any]) -> None:
    summary["samples"]["guidance"]["samples"][0]["text"] = "a\rb\x00c\x1bd\u2028e"
    assert "a\\rb\\x00c\\x1bd\\u2028e" in render(summary)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", render(summary))


def test_text_without_a_held_out_sentence(summary: dict[str, Any]) -> None:
    summary["samples"]["sentences"] = []
    assert "Held-out sentences" not in render(summary)


def test_phrases_of_the_text_are_shown_filled(summary: dict[str, Any]) -> None:
    assert "A fixed list" not in render(summary)
    frames = summary["samples"]["unmasking"]["steps_shown"]
    summary["samples"]["phrases"] = [{"title": "The ____", "text": "The end", "nfe": 1, "steps_shown": frames}] * 2
    assert "A fixed list, all of it shown" in Page(render(summary)).text


def test_the_page_has_a_dark_side_and_no_colour_of_its_own_in_the_pictures(summary: dict[str, Any]) -> None:
    page = render(summary)
    assert "color-scheme: light dark" in page and "@media (prefers-color-scheme: dark)" in page
    parts = page.split("@media (prefers-color-scheme")[:2]
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in parts)
    named = set(re.findall(r"var\(--(\w+)", page)) - {"colour"}
    assert named <= light.keys() and {"mdm", "arm", "unigram", "xz", "ink", "soft", "line"} <= dark.keys() & named
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        bare = re.sub(r"var\(--\w+, #\w+\)", "", svg)
        assert not re.search(r"(fill|stroke): #\w", bare), "every colour follows the page"


def contrast(a: str, b: str) -> float:
    """WCAG 2's ratio of two colours' luminance."""

    def luminance(colour: str) -> float:
        colour = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_text_and_lines_stand_out_by_day_and_by_night(summary: dict[str, Any]) -> None:
    parts = render(summary).split("@media (prefers-color-scheme")[:2]
    for colours in (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in parts):
        for paper in (colours["paper"], colours["tint"]):
            assert contrast(colours["ink"], paper) > 7 and contrast(colours["soft"], paper) > 4.5
        assert all(contrast(colours[name], colours["paper"]) > 3 for name in ("mdm", "arm", "unigram", "xz"))


def test_wide_tables_name_their_columns_in_every_cell(summary: dict[str, Any]) -> None:
    """On a narrow screen they become lists of named values: nothing runs off the page."""
    page = Page(render(summary))
    named = [attributes["data-name"] for tag, attributes in page.tags if tag == "td" and "data-name" in attributes]
    assert named[:6] == ["", "bits/byte", "Monte Carlo se", "nats/token", "of unigram", "what it is"]
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "table"].count("stack") == 3


def test_powers() -> None:
    assert power(2.4e13) == "2.40 × 10<sup>13</sup>"
