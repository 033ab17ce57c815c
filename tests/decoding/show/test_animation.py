"""The animated picture: every token at its place and its time, also those taken back."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from unmask.decoding import generate
from unmask.decoding.show.animation import COLUMNS, appearances, layout, render, write_svg
from unmask.decoding.show.trace import Trace
from unmask.errors import UserError
from unmask.model.folder import Model

SVG = "{http://www.w3.org/2000/svg}"


def test_every_token_appears_at_its_step(mdm: Model, tmp_path: Path) -> None:
    (row,) = generate(mdm, [[1, 2]], length=12, steps=5, order="confidence", quota="even", seed=3)
    path = write_svg(tmp_path / "a.svg", [row], mdm)
    tree = ET.parse(path).getroot()
    texts = [node for node in tree.iter(f"{SVG}text")]
    assert len(texts) == 14 and sum("class" in node.attrib for node in texts) == 2, "the prompt stands from the start"
    moving = [node for node in texts if node.find(f"{SVG}animate") is not None]
    assert len(moving) == 12
    moments = {node.find(f"{SVG}animate").attrib["keyTimes"] for node in moving}  # type: ignore[union-attr]
    assert len(moments) == 5 and all(0 < float(keys.split(";")[1]) < 1 for keys in moments)
    assert "12 tokens appear out of masks in 5 steps" in tree.attrib["aria-label"]


def test_what_is_taken_back_comes_again(mdm: Model) -> None:
    (row,) = generate(mdm, [[1]], length=10, steps=24, revise="remdm-cap:0.3", seed=5)
    shown = appearances(row, 7)
    assert shown.keys() == set(row.positions)
    assert any(len(spans) > 1 for spans in shown.values()), "something was taken back"
    for spans in shown.values():
        assert spans[-1][2] is None, "in the end all are written"
        for (begin, _, end), (again, _, _) in zip(spans, spans[1:], strict=False):
            assert end is not None and begin < end <= again


def test_lines_are_broken_between_tokens() -> None:
    from unmask.decoding.generation import Generation

    canvas = list(range(40))
    row = Generation([], None, 0, "length", [], [], [], canvas, (0, 0), trace=[])
    trace = Trace([row], "mdm", 99, None, {token: f" word{token}" for token in canvas})
    places = list(layout(trace, row))
    assert max(place.column + len(place.text) for place in places) <= COLUMNS
    assert {place.line for place in places} == {0, 1, 2, 3}
    assert all(not place.text.startswith(" ") for place in places if place.column == 0 and place.line)
    ET.fromstring(render(trace))


def test_markup_in_a_token_is_text(mdm: Model) -> None:
    (row,) = generate(mdm, [[1]], length=3)
    trace = Trace.of([row], mdm)
    trace.texts = dict.fromkeys(trace.texts, '<b a="&')
    assert ET.fromstring(render(trace)).findall(f".//{SVG}text")[1].text == '<b a="&'


def test_without_a_trace_or_a_model(mdm: Model, tmp_path: Path) -> None:
    (row,) = generate(mdm, [[1]], length=3, trace=False)
    with pytest.raises(UserError, match="has no trace"):
        write_svg(tmp_path / "a.svg", [row], mdm)
    with pytest.raises(UserError, match="needs the model"):
        write_svg(tmp_path / "a.svg", [row])
    assert not list(tmp_path.iterdir())
