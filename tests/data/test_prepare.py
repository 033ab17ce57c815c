"""`prepare` from source to folder: what it writes, and what it refuses."""

from __future__ import annotations

import os
import sys

import pytest

from data.prepared import documents, folder_hash
from unmask.data.manifest import Manifest
from unmask.data.options import PrepareOptions
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer

# ---------------------------------------------------------------------- what is written


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_every_document_arrives_once(make, texts, tmp_path, tokenizer):
    manifest = make(sources=[texts], out=tmp_path / "data", tokenizer=tokenizer)
    assert manifest.created
    train, validation = (documents(tmp_path / "data", split) for split in ("train", "validation"))
    assert sorted(train + validation) == sorted(path.read_text() for path in texts.rglob("*.txt"))
    for split, held in (("train", train), ("validation", validation)):
        facts = manifest.splits[split]
        assert (facts.documents, facts.bytes) == (len(held), sum(len(text.encode()) for text in held))
        data = TokenData(tmp_path / "data", split)
        assert data.tokenizer().n_bytes(data.read(0, data.n_tokens)) == facts.bytes
    assert manifest.tokenizer_hash == Tokenizer.from_file(tmp_path / "data").hash
    assert manifest.vocab_size == {"bytes": 257, "bpe:300": 300}[tokenizer] and manifest.dtype == "uint16"
    assert manifest.versions.keys() == {"unmask", "python", "numpy", "tokenizers"}


def test_the_same_again_elsewhere_is_the_same_folder(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "one", tokenizer="bpe:300")
    make(sources=[texts], out=tmp_path / "two", tokenizer="bpe:300")
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")


def test_workers_change_nothing(make, texts, tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.data.encoding.BATCH_CHARS", 500)  # so that there are many batches to keep in order
    make(sources=[texts], out=tmp_path / "one", tokenizer="bpe:300", workers=1)
    make(sources=[texts], out=tmp_path / "two", tokenizer="bpe:300", workers=2)
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")


def test_the_bpe_sees_the_training_split_only(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data", tokenizer="bpe:320")
    train = documents(tmp_path / "data", "train")
    both = sorted(path.read_text() for path in texts.rglob("*.txt"))
    found = Tokenizer.from_file(tmp_path / "data").hash
    assert found == Tokenizer.train_bpe(320, train).hash != Tokenizer.train_bpe(320, both).hash
    make(sources=[texts], out=tmp_path / "less", tokenizer="bpe:320", tokenizer_bytes=1)
    assert Tokenizer.from_file(tmp_path / "less").hash == Tokenizer.train_bpe(320, train[:1]).hash


def test_duplicates_and_empty_documents_are_dropped_and_counted(make, texts, tmp_path):
    (texts / "copy.txt").write_text((texts / "01.txt").read_text())
    (texts / "deep" / "copy.txt").write_text((texts / "01.txt").read_text())
    (texts / "empty.txt").write_text("")
    (texts / "blank.txt").write_text(" \n")
    manifest = make(sources=[texts], out=tmp_path / "data")
    assert (manifest.duplicates, manifest.empty) == (2, 2)
    assert sum(split.documents for split in manifest.splits.values()) == 40
    assert "2 duplicate, 2 empty" in manifest.summary()
    kept = make(sources=[texts], out=tmp_path / "kept", dedup=False)
    assert sum(split.documents for split in kept.splits.values()) == 42 and kept.duplicates == 0


def test_limit_docs(make, texts, tmp_path):
    manifest = make(sources=[texts], out=tmp_path / "data", limit_docs=7)
    assert sum(split.documents for split in manifest.splits.values()) == 7


def test_eos_text_in_a_document_is_text(make, tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"{number} <|endoftext|> {number}")
    make(sources=[tmp_path / "*.txt"], out=tmp_path / "data", tokenizer="bpe:270")
    assert len(documents(tmp_path / "data", "train") + documents(tmp_path / "data", "validation")) == 8


def test_a_foreign_tokenizer(make, texts, tmp_path):
    Tokenizer.train_bpe(400, [path.read_text() for path in texts.rglob("*.txt")]).save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("<|endoftext|>", "<stop>"))
    with pytest.raises(UserError, match="has no end-of-sequence token; name its eos_token in tokenizer_config.json"):
        make(sources=[texts], out=tmp_path / "data", tokenizer=str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<stop>"}')
    manifest = make(sources=[texts], out=tmp_path / "data", tokenizer=str(tmp_path))
    assert TokenData(tmp_path / "data", "train").tokenizer().eos_id == manifest.eos_id == 0
    # Another tokenizer under the same name is another setting.
    Tokenizer.train_bpe(300, ["x"]).save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match=r"prepared differently \(the tokenizer in .*--force"):
        make(sources=[texts], out=tmp_path / "data", tokenizer=str(tmp_path))


# ---------------------------------------------------------------------- a second run


def test_a_second_run_does_nothing_and_says_so(make, texts, tmp_path, recorder):
    first = make(sources=[texts], out=tmp_path / "data")
    before = folder_hash(tmp_path / "data"), (tmp_path / "data").stat().st_ino
    second = make(sources=[f"{texts}/../texts"], out=tmp_path / "data", workers=3, strict=True)
    assert not second.created and second == first
    assert recorder.notes[-1] == f"{tmp_path / 'data'} is already prepared with these settings; nothing to do"
    assert (folder_hash(tmp_path / "data"), (tmp_path / "data").stat().st_ino) == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 1}, "seed 0 there, 1 now"),
        ({"tokenizer": "bpe:300"}, "tokenizer 'bytes' there, 'bpe:300' now"),
        (
            {"split": "random:0.4", "dedup": False},
            "split 'random:0.5' there, 'random:0.4' now; dedup True there",
        ),
        ({"limit_docs": 30}, "limit_docs None there, 30 now"),
    ],
)
def test_other_settings_need_force(make, texts, tmp_path, change, message):
    make(sources=[texts], out=tmp_path / "data")
    before = folder_hash(tmp_path / "data")
    with pytest.raises(UserError, match=f"was prepared differently \\({message}.*; add --force to replace it"):
        make(sources=[texts], out=tmp_path / "data", **change)
    assert folder_hash(tmp_path / "data") == before
    assert make(sources=[texts], out=tmp_path / "data", force=True, **change).created
    assert not make(sources=[texts], out=tmp_path / "data", **change).created
    assert sorted(os.listdir(tmp_path)) == ["data", "texts"]


def test_a_changed_source_needs_force(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data")
    (texts / "new.txt").write_text("new")
    with pytest.raises(UserError, match="the source's files"):
        make(sources=[texts], out=tmp_path / "data")


def test_a_damaged_folder_is_not_taken_for_done(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data")
    (tmp_path / "data" / "validation-00000.bin").write_bytes(b"short")
    with pytest.raises(UserError, match="validation-00000.bin is truncated"):
        make(sources=[texts], out=tmp_path / "data")
    assert make(sources=[texts], out=tmp_path / "data", force=True).created


def test_what_is_not_ours_is_never_replaced(make, texts, tmp_path):
    (tmp_path / "data").mkdir()
    assert make(sources=[texts], out=tmp_path / "data").created  # an empty folder is nobody's
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    for out in ("thesis", "file"):
        with pytest.raises(UserError, match=f"{out} exists and is not a prepared data folder; give another --out"):
            make(sources=[texts], out=tmp_path / out, force=True)
    assert (tmp_path / "thesis" / "chapter.tex").exists()


# ---------------------------------------------------------------------- bad input


def test_not_utf8(make, texts, tmp_path, recorder):
    for number in range(25):
        (texts / f"latin-{number:02d}.txt").write_bytes(f"caf\xe9 {number}".encode("latin-1"))
    manifest = make(sources=[texts], out=tmp_path / "data", tokenizer="bpe:300")  # two passes, each named once
    assert manifest.skipped == [str(texts / f"latin-{number:02d}.txt") for number in range(25)]
    assert len(recorder.notes) == 20 + 1
    assert recorder.notes[0] == f"{texts / 'latin-00.txt'} is not UTF-8 (byte 3): skipped"
    assert recorder.notes[-1].startswith("25 file(s) or line(s) that are not UTF-8 were skipped")
    for options in ({"out": tmp_path / "strict"}, {"out": tmp_path / "data", "tokenizer": "bpe:300"}):
        with pytest.raises(UserError, match="latin-00.txt.* leave out --strict"):
            make(sources=[texts], strict=True, **options)
    assert sorted(os.listdir(tmp_path)) == ["data", "texts"]


def test_names_that_are_not_utf8(make, texts, tmp_path):
    (texts / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"caf\xe9")
    manifest = make(sources=[texts], out=tmp_path / "data")
    assert manifest.skipped == [str(texts / os.fsdecode(b"caf\xe9.txt"))]
    assert Manifest.load(tmp_path / "data") == manifest


def test_a_skipped_file_is_named_once_in_two_passes(make, texts, tmp_path, recorder):
    (texts / "latin.txt").write_bytes(b"caf\xe9")
    make(sources=[texts], out=tmp_path / "data", tokenizer="bpe:300")
    assert [note for note in recorder.notes if "latin.txt" in note] == recorder.notes[:1]


def test_the_tokenizer_does_not_see_what_is_held_out(make, tmp_path):
    (tmp_path / "in.txt").write_text("a b " * 900 + "secretword " * 10)
    make(sources=[tmp_path / "in.txt"], out=tmp_path / "data", tokenizer="bpe:400", split="random:0.05")
    tokenizer = TokenData(tmp_path / "data").tokenizer()
    assert not any("ret" in tokenizer.token_text(token) for token in range(tokenizer.vocab_size))


def test_sources_without_text(make, tmp_path):
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(UserError, match=r"blank.txt holds no text; 1 document\(s\) were empty"):
        make(sources=[tmp_path / "blank.txt"], out=tmp_path / "data")
    with pytest.raises(UserError, match="nowhere' does not exist"):
        make(sources=[tmp_path / "nowhere"], out=tmp_path / "data")
    assert os.listdir(tmp_path) == ["blank.txt"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sources": []}, "no source given"),
        ({"split": "random:1.5"}, "--split is 'random:1.5'; write random:FRACTION"),
        ({"split": "random"}, "--split is 'random'"),
        ({"split": "date:05"}, "--split is 'date:05'"),
        ({"split": "date:2005-13"}, "--split is 'date:2005-13'"),
        ({"split": "half"}, "--split is 'half'"),
        ({"limit_docs": 0}, "--limit-docs is 0; give at least 1"),
        ({"shard_tokens": 0}, "--shard-tokens is 0"),
        ({"workers": -1}, "--workers is -1; give at least 0"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        PrepareOptions(**{"sources": ["x"], "out": "y", **options})


def test_unwritable_folder(make, texts, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/data: Not a directory"):
        make(sources=[texts], out=tmp_path / "file" / "data")


# ---------------------------------------------------------------------- many files, prepared folders


def test_work_grows_with_the_number_of_files_and_no_faster(make, tmp_path):
    """Calls of Python and C counted: the size of all files was asked for once a document."""
    counts = []
    for number in (60, 240):
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        for i in range(number):
            (folder / f"{i}.txt").write_text(f"file {i} of the people")
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            make(sources=[folder], out=tmp_path / f"out{number}", tokenizer="bpe:300")
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[1] < 5 * counts[0]


def test_prepared_folders_in_the_source_are_left_out(make, texts, tmp_path, recorder):
    make(sources=[texts], out=texts / "prepared")  # the output inside the source
    before = {path.read_text() for path in texts.rglob("*.txt")}
    manifest = make(sources=[texts], out=tmp_path / "data")
    assert recorder.notes == [f"left out {texts / 'prepared'}: a folder of prepared data"]
    assert sum(split.documents for split in manifest.splits.values()) == len(before) == 40
    assert not make(sources=[texts], out=texts / "prepared").created  # and the same source as before
    with pytest.raises(UserError, match="prepared' holds no text: .* a folder of prepared data"):
        make(sources=[texts / "prepared"], out=tmp_path / "again")


def test_a_lock_of_an_earlier_version_goes(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data")
    assert not (tmp_path / "data" / ".lock").exists()
    (tmp_path / "data" / ".lock").touch()
    assert not make(sources=[texts], out=tmp_path / "data").created
    assert not (tmp_path / "data" / ".lock").exists()
