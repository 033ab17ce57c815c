"""The trace page: one file, well-formed, its data right, its tokens harmless.

What the script does with the data is looked at in a browser; here stands what it is given.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from unmask.decoding import generate
from unmask.decoding.generate import infill
from unmask.decoding.generation import Generation
from unmask.decoding.show.page import MASK, page_data, render, write_html
from unmask.decoding.show.trace import Trace, load_trace, save_trace
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Elements in order, the text of each script, and whether every tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "data"))


@pytest.fixture(scope="module")
def writer(make_model) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)


def row(events: list[tuple[int, int, int, float]], canvas: list[int], **fields: Any) -> Generation:
    """A generation by hand; the canvas is what the events leave."""
    trace = [dict(zip(("step", "position", "token", "probability"), event, strict=True)) for event in events]
    positions = fields.pop("positions", sorted({event[1] for event in events}))
    numbers = [0] * len(positions)
    return Generation(
        tokens=[canvas[p] for p in positions],
        text=None,
        nfe=2,
        stopped=fields.pop("stopped", "length"),
        positions=positions,
        steps=numbers,
        probabilities=[float(n) for n in numbers],
        canvas=canvas,
        seed=(3, 1),
        trace=trace,
        **fields,
    )


def replay(shown: dict[str, Any]) -> list[int]:
    """What page.js does when the slider stands at the end."""
    state = list(shown["start"])
    for position, token in zip(shown["position"], shown["token"], strict=True):
        state[position] = token
    return state


def test_one_file_that_asks_for_nothing(tmp_path: Path, writer: Model) -> None:
    found = generate(writer, ["We", "the people"], length=6, steps=3, order="confidence")
    path = write_html(tmp_path / "out.html", found, writer, {"order": "confidence", "seed": 0, "quota": None})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "{{" not in text
    addresses = [v for _, attributes in page.elements for k, v in attributes.items() if k in ("src", "href", "srcset")]
    assert addresses == ["data:,"]  # an empty icon, so that no browser asks for one
    assert re.findall(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|XMLHttp", text) == []
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';")
    assert page.data["settings"] == [["order", "confidence"], ["seed", "0"]]
    assert len(page.data["rows"]) == 2


def test_every_element_that_the_script_looks_for_is_there(writer: Model) -> None:
    page = Page(render(Trace.of(generate(writer, ["We"], length=2), writer)))
    code = "".join(text for attributes, text in page.scripts if "id" not in attributes)
    wanted = {name for name in re.findall(r'(?<!\.)get\("([a-z-]+)"\)', code)} | {"text", "detail", "slider", "map"}
    there = [a["id"] for _, a in page.elements if "id" in a]
    assert wanted <= set(there) and len(set(there)) == len(there)


def test_the_events_replay_to_the_canvas(writer: Model) -> None:
    options: list[dict[str, Any]] = [{"order": "ancestral"}, {"order": "margin", "quota": "even"}]
    for found in (generate(writer, ["We the", ""], length=9, steps=4, **option) for option in options):
        data = page_data(Trace.of(found, writer))
        for g, shown in zip(found, data["rows"], strict=True):
            assert [data["tokens"][i][0] for i in replay(shown)] == g.canvas
            assert [p for p, token in enumerate(shown["start"]) if token == MASK] == g.positions


def test_gaps_start_as_masks(writer: Model) -> None:
    (g,) = infill(writer, ["a ____ b"], gap=2)
    (shown,) = page_data(Trace.of([g], writer))["rows"]
    assert [p for p, token in enumerate(shown["start"]) if token == MASK] == [1, 2]
    assert ["ended because", "the gaps are filled"] in shown["facts"]


def test_remasked_edited_forced_and_cut_positions() -> None:
    events = [(0, 1, 5, 0.9), (0, 2, 6, 0.12345678), (1, 1, 99, 0.0), (2, 1, 7, 0.5), (3, 2, 8, 0.6), (3, 6, 5, 0.1)]
    g = row(events, canvas=[4, 7, 8, 0, 9], positions=[1, 2, 3, 4], stopped="eos")
    data = page_data(Trace([g], "mdm", 99, 0, {t: f"<{t}>" for t in (0, 4, 5, 6, 7, 8, 9)}, {}))
    (shown,) = data["rows"]
    tokens = [token for token, _ in data["tokens"]]
    assert shown["start"] == [tokens.index(4), MASK, MASK, tokens.index(0), tokens.index(9), MASK, MASK]
    assert shown["token"][2] == MASK and tokens[replay(shown)[1]] == 7 and tokens[replay(shown)[2]] == 8
    assert shown["probability"][1] == 0.1235
    assert shown["forced"] == [3, 4]  # new, yet no step wrote them
    assert shown["end"] == 4  # behind the end of sequence


def test_facts(mdm: Model) -> None:
    g = row([(0, 0, 1, 0.5), (1, 1, 2, 0.5)], [1, 2], seconds=1.234, seconds_to_first=0.5, computed=4000)
    (shown,) = page_data(Trace.of([g], mdm))["rows"]
    assert dict(map(tuple, shown["facts"])) == {
        "new tokens": "2",
        "passes of the network": "2",
        "tokens a pass": "1.00",
        "ended because": "everything asked for was written",
        "time": "1.23 s",
        "to the first token": "0.50 s",
        "positions computed": "4,000",
        "seed": "3, row 1",
    }


NASTY = [
    "</script><b>bold</b>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "&amp;\u2028\u2029",
    "\x1b[31m\u202e",
    "{{data}}",
    "]]>\\\"'`${1}",
]


def test_tokens_are_text_and_nothing_else() -> None:
    g = row([(i, i, i, 0.5) for i in range(len(NASTY))], list(range(len(NASTY))))
    text = render(Trace([g], "mdm", 99, None, dict(enumerate(NASTY)), {"stop": ["</script>"], "banned": "<b>"}))
    plain = render(Trace([g], "mdm", 99, None, {i: "x" for i in range(len(NASTY))}, {}))
    page = Page(text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in Page(plain).elements]
    assert "\x1b" not in text and "\u202e" not in text
    shown = [name for _, name in page.data["tokens"]]
    spelled = {"\x1b": "\\x1b", "\u202e": "\\u202e", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    assert shown == [re.sub("|".join(spelled), lambda m: spelled[m[0]], token) for token in NASTY]
    assert page.data["settings"] == [["stop", '["</script>"]'], ["banned", "<b>"]]


def test_a_page_from_a_trace_file_alone(tmp_path: Path, writer: Model) -> None:
    found = generate(writer, ["We"], length=5)
    settings = {"length": 5}
    trace = load_trace(save_trace(tmp_path / "out.json", found, writer, settings))
    assert write_html(tmp_path / "a.html", trace).read_text() == render(Trace.of(found, writer, settings))


def test_thousands_of_tokens_stay_small(mdm: Model) -> None:
    g = row([(i // 4, i, i % 7, 0.123456789) for i in range(4000)], [i % 7 for i in range(4000)])
    assert len(render(Trace.of([g], mdm))) < 250_000


def test_what_cannot_be_shown(tmp_path: Path, mdm: Model) -> None:
    path = tmp_path / "out.html"
    with pytest.raises(UserError, match="needs the model"):
        write_html(path, generate(mdm, [[1]], length=2))
    with pytest.raises(UserError, match="generation 0 has no trace"):
        write_html(path, generate(mdm, [[1]], length=2, trace=False), mdm)
    assert not path.exists()
