"""Records are the same whatever lays them out and whatever the file is called."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data import opening, records
from unmask.data.opening import OpenText
from unmask.data.records import json_kind, json_records, read_records, table_kind, table_records
from unmask.errors import UserError

ROWS = [{"text": "one \u2028 é \x85", "url": "x", "n": [1, {"a": None}]}, {"text": "two\n", "url": "y"}, {"text": ""}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
LAYOUTS = {
    "lines": LINES,
    "lines-crlf": LINES.replace("}\n", "}\r\n"),
    "lines-blank": "\n" + LINES.replace("}\n", "}\n\n"),
    "lines-open": LINES.removesuffix("\n"),
    "array": json.dumps(ROWS, ensure_ascii=False),
    "array-lines": "[\n" + LINES.replace("}\n", "},\n").removesuffix(",\n") + "\n]\n",
    "array-pretty": json.dumps(ROWS, indent=2),
    "pretty": "".join(json.dumps(row, indent=2) + "\n" for row in ROWS),
}


def rows_of(path: Path) -> list[Any]:
    return [record for _, record in read_records(path)]


@pytest.mark.parametrize("name", ["r.jsonl", "r.json", "r.ndjson", "r.json.gz", "r.jsonl.gz", "r.txt", "r"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_same_records(tmp_path: Path, layout: str, name: str, encoding: str) -> None:
    data = LAYOUTS[layout].encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert rows_of(tmp_path / name) == ROWS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_places(tmp_path: Path, layout: str) -> None:
    (tmp_path / "r.json").write_text(LAYOUTS[layout])
    places = [where for where, _ in read_records(tmp_path / "r.json")]
    lines = {"lines-blank": [":2", ":4", ":6"]}.get(layout, [":1", ":2", ":3"])
    assert places == (lines if layout.startswith("lines") else [" record 1", " record 2", " record 3"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    rows=st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=8),
    indent=st.sampled_from([None, 0, 2]),
    chunk=st.integers(4, 60),
)
def test_arrays_are_read_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, indent: Any, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.json"
    path.write_text(json.dumps(rows, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "CHUNK", chunk)
        with OpenText(path) as file:
            assert [value for _, value in records.json_records(file, records.ARRAY)] == rows


DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"b": \n', r"a.jsonl:2 is not a line of JSON: Expecting value"),
        ("a.jsonl", '{"a": "x\n{"b": 1}\n', r"a.jsonl:1 is not a line of JSON: Unterminated string"),
        ("a.jsonl", '{"a": 1}\n{"b": ' + DEEP + "}\n", r"a.jsonl:2 is not a line of JSON: it is nested too deeply"),
        ("a.json", '[{"a": 1},\n{"b": ' + DEEP + "}]", r"a.json:2 is not JSON: it is nested too deeply"),
        ("a.json", DEEP, r"a.json:1 is not JSON: it is nested too deeply"),
        ("a.json", '[\n{"a": 1},\n{"b": 2}\n', r"a.json:4 is not JSON: the array does not end"),
        ("a.json", '[{"a": 1},\n {"b": tru}]', r"a.json:2 is not JSON: Expecting value"),
        ("a.json", '[{"a": 1}\n {"b": 2}]', r"a.json:2 is not JSON: Expecting ',' or ']'"),
        ("a.json", '[{"a": 1}, ]', r"a.json:1 is not JSON: Expecting value"),
        ("a.json", '[{"a": 1}] {"b": 1}', r"a.json:1 is not JSON: there is more behind the end of the array"),
        ("a.json", '[{"a": ' + "1" * 5000 + "}]", r"a.json:1 is not JSON: Exceeds the limit"),
        ("a.json", "not json", r"a.json:1 is not a line of JSON"),
        ("a.parquet", "PAR1 no", r"a.parquet is not a readable parquet file"),
        ("a.arrow", "no", r"a.arrow is not a readable Arrow file"),
        ("a", "ARROW1 no", r"a is not a readable Arrow file"),
    ],
)
def test_what_is_no_record_names_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    if "readable" in message:
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        rows_of(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_lines_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": "caf\xe9"}\n{"a": 3}\n')
    told: list[tuple[str, str]] = []
    with OpenText(tmp_path / "a.jsonl", "a") as file:
        found = list(json_records(file, "lines", lambda name, why: told.append((name, why))))
    assert found == [(":1", {"a": 1}), (":3", {"a": 3})] and told == [("a:2", "is not UTF-8")]
    with pytest.raises(UserError, match="a.jsonl:2 is not UTF-8; convert it"):
        rows_of(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_bytes(b'[{"a": 1}, {"a": "caf\xe9"}]')
    with pytest.raises(UserError, match=r"a.json is not UTF-8 \(byte 21\)"):
        rows_of(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.txt", LINES, "lines"),
        ("a", json.dumps(ROWS), "array"),
        ("a", '{"text": "' + "x" * 400_000 + '"}\n', "lines"),  # a line longer than what is looked at
        ("a.md", "[a link](b) and text", None),
        ("a.txt", "plain", None),
        ("a.txt", "", None),
        ("a.txt", '{"other": 1}\n', None),  # no record of these: text, whatever it means
        ("a.py", '{\n "text": 1}\n', None),
        ("a.json", '{"other": 1}\n', "lines"),
        ("a.json", '{\n "text": "x"}\n', "values"),
        ("a.jsonl", "plain", "lines"),
        ("a.jsonl", '["a"]', "lines"),
    ],
)
def test_what_is_told_from_text(tmp_path: Path, name: str, text: str, kind: str | None) -> None:
    (tmp_path / name).write_text(text)
    with OpenText(tmp_path / name) as file:
        assert json_kind(file, "text") == kind


def test_tables(tmp_path: Path) -> None:
    """Parquet, and Arrow's two kinds of file, by their content."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    table = pa.table({"text": [f"row {i}" for i in range(600)], "url": ["x"] * 600})
    parquet.write_table(table, tmp_path / "p")
    feather.write_feather(table, str(tmp_path / "f"), compression="uncompressed")
    with pa.OSFile(str(tmp_path / "s"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for name in "pfs":
        assert rows_of(tmp_path / name) == table.to_pylist()
        kind = table_kind(tmp_path / name, name)
        assert kind == ("parquet" if name == "p" else "arrow")
        found = list(table_records(tmp_path / name, name, kind, ("text", "date")))
        assert found[0] == (":1", {"text": "row 0"}) and found[-1] == (":600", {"text": "row 599"})
        with pytest.raises(UserError, match=rf"{name} has no field 'body'; it has text, url"):
            list(table_records(tmp_path / name, name, kind, ("body",)))
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-300])
        with pytest.raises(UserError, match=f"{name} is not a readable"):
            rows_of(tmp_path / name)
