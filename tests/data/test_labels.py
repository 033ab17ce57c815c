"""Splits that records name, and validation once more by a field."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unmask.data.labels import MOST, LabelledWriter
from unmask.data.manifest import Manifest
from unmask.data.shards import TokenData
from unmask.errors import UserError


@pytest.fixture
def records(tmp_path):
    found = [
        {"text": f"text {i} of {'ab'[i % 2]}", "split": "validation" if i % 3 == 0 else "train", "from": "ab"[i % 2]}
        for i in range(30)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in found))
    return path, found


def texts(folder, split):
    data = TokenData(folder, split)
    ids, tokenizer = data.read(0, data.n_tokens), data.tokenizer()
    ends = np.flatnonzero(ids == data.eos_id)
    return [tokenizer.decode(part[:-1]) for part in np.split(ids, ends + 1)[:-1]]


@pytest.mark.parametrize("workers", [1, 2])
def test_records_name_their_split(make, records, tmp_path, workers):
    path, found = records
    manifest = make(sources=[path], out=tmp_path / "data", split="field:split", by="from", workers=workers)
    for split in ("train", "validation"):
        assert texts(tmp_path / "data", split) == [record["text"] for record in found if record["split"] == split]
    for label in "ab":
        held = [r["text"] for r in found if r["split"] == "validation" and r["from"] == label]
        assert texts(tmp_path / "data", f"validation-{label}") == held
        facts = manifest.splits[f"validation-{label}"]
        assert (facts.documents, facts.bytes) == (len(held), sum(map(len, held)))
    assert Manifest.load(tmp_path / "data").splits == manifest.splits and "validation-a" in manifest.summary()
    assert not make(sources=[path], out=tmp_path / "data", split="field:split", by="from").created


def test_a_split_by_label_is_checked_for_damage(make, records, tmp_path):
    make(sources=[records[0]], out=tmp_path / "data", split="field:split", by="from")
    shard = tmp_path / "data" / "validation-a-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(UserError, match="validation-a-00000"):
        TokenData(tmp_path / "data", "validation-a")
    with pytest.raises(UserError, match="validation-a-00000"):
        make(sources=[records[0]], out=tmp_path / "data", split="field:split", by="from")


def test_by_goes_with_any_split(make, records, tmp_path):
    manifest = make(sources=[records[0]], out=tmp_path / "data", split="random:0.4", by="from")
    parts = [split for name, split in manifest.splits.items() if name.startswith("validation-")]
    assert sum(split.documents for split in parts) == manifest.splits["validation"].documents


def test_by_where_the_end_of_the_text_is_held_out(make, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "one line\n" * 50, "from": "x"}) + "\n")
    manifest = make(sources=[tmp_path / "in.jsonl"], out=tmp_path / "data", split="random:0.1", by="from")
    assert manifest.splits["validation-x"].tokens == manifest.splits["validation"].tokens > 0


@pytest.mark.parametrize(
    ("record", "options", "said"),
    [
        ({}, {}, r"in\.jsonl.* has no field 'split'; it must be train or validation"),
        ({"split": "test"}, {}, "has 'test' in 'split'; it must be train or validation"),
        ({"split": "validation"}, {"by": "from"}, r"--by from: .*in\.jsonl.* has no field 'from'"),
        ({"split": "validation", "from": "a/b"}, {"by": "from"}, "--by: 'a/b' cannot name a split"),
        ({"split": "validation"}, {"split": "field:"}, "--split is 'field:'; write"),
        ({"split": "train"}, {}, "the validation split would be empty .* give records of both"),
    ],
)
def test_what_cannot_be_sorted_is_one_line(make, tmp_path, record, options, said):
    lines = [{"text": "one", "split": "train", "from": "a"}, {"text": "two", **record}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=said):
        make(sources=[tmp_path / "in.jsonl"], out=tmp_path / "data", **{"split": "field:split", **options})
    assert not (tmp_path / "data").exists()


def test_too_many_labels_are_refused(tmp_path):
    writer = LabelledWriter(tmp_path, "validation", "uint8", 100, 0)
    for i in range(MOST):
        writer.expect(f"label{i}", 1)
    with pytest.raises(UserError, match=f"--by: over {MOST} different values"):
        writer.expect("one-more", 1)


def test_a_document_in_parts_goes_to_one_label(tmp_path):
    writer = LabelledWriter(tmp_path, "validation", "uint8", 100, 0)
    writer.expect("a", 3)
    writer.expect("b", 1)
    for part in ([5, 6], [7], [0, 8], [], [0]):
        writer.write(np.array(part, dtype=np.uint32))
    writer.close()
    splits = writer.splits()
    assert [(name, split.tokens) for name, split in splits.items()] == [("validation-a", 4), ("validation-b", 2)]
    assert (tmp_path / "validation-a-00000.bin").read_bytes() == bytes([5, 6, 7, 0])
