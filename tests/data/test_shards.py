"""What is written is read back across shards, and what was touched since is found at opening."""

from __future__ import annotations

import json
import os
import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data import shards as room
from unmask.data.manifest import Manifest
from unmask.data.shards import ShardWriter, TokenData, narrowest_dtype
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer


@pytest.fixture
def folder(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data", shard_tokens=1000)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "vocab_size, name",
    [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32"), (2**32, "uint32")],
)
def test_the_narrowest_integer(vocab_size, name):
    assert narrowest_dtype(vocab_size) == name
    assert np.iinfo(name).max >= vocab_size - 1


@given(data=st.data())
def test_shards_join_without_seams(tmp_path_factory, data):
    parts = data.draw(st.lists(st.lists(st.integers(0, 65535), max_size=30), min_size=1, max_size=6))
    size = data.draw(st.integers(1, 40))
    folder = tmp_path_factory.mktemp("shards")
    writer = ShardWriter(folder, "train", "uint16", size)
    for part in parts:
        writer.write(np.array(part, dtype=np.uint32))
    writer.close()
    writer.close()  # again is no harm
    flat = [i for part in parts for i in part]
    assert writer.n_tokens == len(flat) == sum(shard.tokens for shard in writer.shards)
    assert all(shard.tokens == size for shard in writer.shards[:-1])
    assert [shard.file for shard in writer.shards] == sorted(path.name for path in folder.iterdir())
    stored = np.concatenate([np.fromfile(folder / s.file, "<u2") for s in writer.shards] or [np.array([], "<u2")])
    assert stored.tolist() == flat


def test_reading_across_shards(folder, texts):
    data = TokenData(folder, "train")
    assert len(data.manifest.splits["train"].shards) > 3
    everything = data.read(0, data.n_tokens)
    assert everything.dtype == np.int64 and len(everything) == len(data) == data.n_tokens
    generator = np.random.default_rng(0)
    for start, end in np.sort(generator.integers(0, data.n_tokens + 1, (200, 2))):
        assert (data.read(start, end - start) == everything[start:end]).all()
    for start, count in [(-1, 2), (0, data.n_tokens + 1), (data.n_tokens, 1), (0, -1)]:
        with pytest.raises(IndexError):
            data.read(start, count)
    # The tokens are the documents', each ended, in the order of the source.
    documents = (
        data.tokenizer().decode(np.where(everything == data.eos_id, 1 + ord("\x1e"), everything)).split("\x1e")[:-1]
    )
    originals = [path.read_text() for path in sorted(texts.rglob("*.txt"), key=lambda p: str(p.relative_to(texts)))]
    assert documents == [text for text in originals if text in documents]
    assert len(documents) == data.n_documents
    assert sum(len(text.encode()) for text in documents) == data.n_bytes


def test_splits_share_nothing(folder, texts):
    sides = [TokenData(folder, split) for split in ("train", "validation")]
    assert sum(side.n_documents for side in sides) == 40
    assert sum(side.n_bytes for side in sides) == sum(path.stat().st_size for path in texts.rglob("*.txt"))
    assert (sides[0].vocab_size, sides[0].eos_id) == (257, 0)
    with pytest.raises(
        UserError, match=r"split 'valid' is not one of train, validation \(did you mean 'validation'\?\)"
    ):
        TokenData(folder, "valid")


def test_to_another_process_go_the_names(folder):
    data = TokenData(folder, "train")
    packed = pickle.dumps(data)
    assert len(packed) < 500
    assert (pickle.loads(packed).read(5, 50) == data.read(5, 50)).all()


# ---------------------------------------------------------------------- damage


def test_truncated(folder):
    path = folder / "train-00001.bin"
    path.write_bytes(path.read_bytes()[:-2])
    for verify in (True, False):
        with pytest.raises(UserError, match=r"train-00001.bin is truncated or altered: 1998 bytes where .* 2000"):
            TokenData(folder, "train", verify=verify)
    TokenData(folder, "validation")  # the other split is whole


def test_altered(folder):
    TokenData(folder, "train")
    path = folder / "train-00002.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00002.bin is altered: its checksum is not the manifest's"):
        TokenData(folder, "train")
    TokenData(folder, "train", verify=False)


def test_missing(folder):
    (folder / "train-00000.bin").unlink()
    with pytest.raises(UserError, match=r"train-00000.bin is missing"):
        TokenData(folder, "train", verify=False)


def test_another_tokenizer(folder):
    Tokenizer.train_bpe(300, ["other text"]).save(folder)
    with pytest.raises(UserError, match=r"tokenizer.json is not the one of the data"):
        TokenData(folder, "train").tokenizer()


def test_checksums_are_computed_once(folder, monkeypatch):
    read = []
    digest = room.hashlib.file_digest
    monkeypatch.setattr(room.hashlib, "file_digest", lambda file, name: read.append(file.name) or digest(file, name))
    shards = len(Manifest.load(folder).splits["train"].shards)
    TokenData(folder, "train")
    TokenData(folder, "train")
    assert len(read) == 2 * shards  # just written: a change now might leave no new time stamp, so nothing is kept
    later = time.time() + 10
    monkeypatch.setattr(room.time, "time", lambda: later)
    TokenData(folder, "train")
    assert len(read) == 3 * shards
    TokenData(folder, "train")
    assert len(read) == 3 * shards
    os.utime(folder / "train-00001.bin")
    TokenData(folder, "train")
    assert len(read) == 3 * shards + 1
    (folder / room.VERIFIED_FILE).write_text("nonsense")
    TokenData(folder, "train")
    assert len(read) == 4 * shards + 1


# ---------------------------------------------------------------------- the manifest


def test_folders_that_are_not_prepared(tmp_path):
    with pytest.raises(UserError, match=r"nothing does not exist; make it with `unmask prepare"):
        TokenData(tmp_path / "nothing")
    with pytest.raises(UserError, match="has no manifest.json"):
        TokenData(tmp_path)


def test_damaged_manifests(folder):
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    changes = {
        "schema version 99": {"schema_version": 99},
        "damaged": {"splits": {"train": fields["splits"]["train"]}},
        "is damaged": {"dtype": "float16"},
        "damaged \\(": {"surplus": 1},
        "add up": {"splits": {**fields["splits"], "train": {**fields["splits"]["train"], "tokens": 5}}},
    }
    for message, change in changes.items():
        path.write_text(json.dumps({**fields, **change}))
        with pytest.raises(UserError, match=message):
            TokenData(folder, "train")
    for content in ("{", "[]", "\x00"):
        path.write_text(content)
        with pytest.raises(UserError, match="manifest.json"):
            TokenData(folder, "train")
