"""Trace files: there and back, readable without the model, refused in one line, never half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unmask.decoding import generate
from unmask.decoding.generation import Generation
from unmask.decoding.show.page import page_data
from unmask.decoding.show.trace import Trace, load_trace, save_trace, visible
from unmask.errors import UserError
from unmask.files import check_writable, write_whole
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer


@pytest.fixture(scope="module")
def writer(make_model) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)


@pytest.fixture
def found(writer: Model) -> list[Generation]:
    return generate(writer, ["We", "the people"], length=6, steps=3, order="confidence")


@pytest.fixture
def file(tmp_path: Path, writer: Model, found: list[Generation]) -> Path:
    return save_trace(tmp_path / "out.json", found, writer, {"order": "confidence", "steps": 3})


def test_there_and_back(file: Path, writer: Model, found: list[Generation]) -> None:
    trace = load_trace(file)
    assert trace.generations == found
    assert (trace.kind, trace.mask_id, trace.eos_id) == ("mdm", writer.mask_id, writer.tokenizer.eos_id)
    assert trace.settings == {"order": "confidence", "steps": 3}
    appear = {t for g in found for t in g.canvas}
    assert trace.texts == {t: writer.tokenizer.token_text(t) for t in appear}
    assert [p.name for p in file.parent.iterdir()] == ["out.json"]


def test_all_end_tokens_are_kept(tmp_path: Path, make_model) -> None:
    model = make_model(vocab_size=9, eos_ids=(8, 2), causal=True)
    found = generate(model, [[1]] * 12, length=9, seed=2)
    ended = [g for g in found if g.stopped == "eos"]
    assert {g.tokens[-1] for g in ended} == {8, 2}
    trace = load_trace(save_trace(tmp_path / "out.json", found, model))
    assert (trace.eos_id, trace.eos_ids) == (8, (8, 2))
    for g, row in zip(found, page_data(trace)["rows"], strict=True):
        assert row["end"] == len(g.canvas)
    fields = json.loads((tmp_path / "out.json").read_text())
    with pytest.raises(UserError, match="`eos_ids` is 5, not a list of token ids"):
        Trace.from_dict({**fields, "eos_ids": 5})
    assert Trace.from_dict({k: v for k, v in fields.items() if k != "eos_ids"}).eos_ids == (8,)


def test_a_mask_among_the_events_needs_no_text(tmp_path: Path, writer: Model, found: list[Generation]) -> None:
    (g, _) = found
    remasked = [*g.trace, {"step": 3, "position": 2, "token": writer.mask_id, "probability": 0.0}]
    remasked += [{"step": 4, "position": 2, "token": 65, "probability": 0.5}]
    g.trace = remasked
    trace = load_trace(save_trace(tmp_path / "out.json", [g], writer))
    assert trace.generations[0].trace == remasked
    assert writer.mask_id not in trace.texts and trace.texts[65] == writer.tokenizer.token_text(65)


def test_without_a_tokenizer_tokens_are_numbers(tmp_path: Path, mdm: Model) -> None:
    trace = load_trace(save_trace(tmp_path / "out.json", generate(mdm, [[1, 2]], length=4), mdm))
    assert trace.texts[1] == " 1" and trace.eos_id is None


def test_a_trace_must_have_been_kept(tmp_path: Path, mdm: Model) -> None:
    with pytest.raises(UserError, match="generation 0 has no trace; generate it with trace=True"):
        save_trace(tmp_path / "out.json", generate(mdm, [[1]], length=2, trace=False), mdm)
    with pytest.raises(UserError, match="no generation"):
        save_trace(tmp_path / "out.json", [], mdm)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[1, 2", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("\x80", "cannot be read as JSON"),
        ("[]", "not a decoding trace"),
        ("{}", "not a decoding trace"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message) as caught:
        load_trace(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 9}, "schema_version is 9, this release reads 1"),
        ({"texts": {"a": "b"}}, "`texts` is not a mapping"),
        ({"texts": {}}, r"generation 0 has token \d+, which `texts` lacks"),
        ({"settings": None}, "`settings` is not a mapping"),
        ({"kind": "rnn"}, "`kind`"),
        ({"eos_id": "x"}, "`eos_id` is 'x'"),
        ({"generations": []}, "`generations` is not a list of results"),
        ({"generations": [{}]}, "generation.schema_version is None"),
    ],
)
def test_damaged_files_are_refused(file: Path, change: dict[str, Any], message: str) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message) as caught:
        load_trace(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


@pytest.mark.parametrize("position", [-1, 99])
def test_positions_outside_the_canvas_are_refused(file: Path, position: int) -> None:
    fields = json.loads(file.read_text())
    fields["generations"][1]["positions"][0] = position
    file.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="generation 1 has a position outside 0..15"):
        load_trace(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere.json cannot be read: No such file"):
        load_trace(tmp_path / "nowhere.json")


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_whole(path, "old")
    real = Path.write_text

    def full(self: Path, text: str, **options: Any) -> int:
        real(self, text[:1], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="a cannot be written: No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "text"


def test_bad_places_are_told_before_the_work(tmp_path: Path) -> None:
    check_writable([None, tmp_path / "new.json", tmp_path / "new.html"])
    assert not list(tmp_path.iterdir())
    for path, message in [
        (tmp_path, "is a folder"),
        ("", "is a folder"),
        (tmp_path / "no" / "x.json", "there is no folder"),
        ("/dev/null", "not a regular file"),
        ("n" * 300, "File name too long"),
        ("a\0b", "null byte"),
    ]:
        with pytest.raises(UserError, match=message):
            check_writable([path])
    with pytest.raises(UserError, match="named for two outputs"):
        check_writable([tmp_path / "x", tmp_path / "." / "x"])


def test_control_characters_are_spelled_out() -> None:
    assert visible("a\x1b[1m\u202eb\n") == "a\\x1b[1m\\u202eb\n"
