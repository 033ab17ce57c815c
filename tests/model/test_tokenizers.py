"""Tokenizers give back what they were given, count bytes, and stay themselves through a file."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from model.foreign import write_foreign
from unmask.errors import UserError
from unmask.model import tokenizers as room
from unmask.model.tokenizers import EOS, Tokenizer, bpe_size

TEXTS = [
    "The people, and the laws of the people; it's 1790.\n\nThe Überfluß in 東京!\n" * 3,
    "def f(x):\n    return x\n" * 4,
]
BYTES = Tokenizer.resolve("bytes")
BPE = Tokenizer.resolve("bpe:300", TEXTS)
# Any text that UTF-8 can write, mixed with what is special to somebody.
ANY_TEXT = st.lists(
    st.one_of(
        st.text(),
        st.sampled_from([EOS, "</s>", "\r\n", "\n\n", "  ", "\x00", "\ufeff", "the people", "👩‍👩‍👧"]),
    )
).map("".join)


@pytest.mark.parametrize("tokenizer", [BYTES, BPE], ids=["bytes", "bpe"])
@given(text=ANY_TEXT)
def test_text_comes_back_and_bytes_add_up(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(np.array(ids, dtype=np.int64)) == text
    assert tokenizer.n_bytes(ids) == tokenizer.byte_lengths()[ids].sum() == len(text.encode())
    assert tokenizer.eos_id not in ids  # the end of sequence comes from the data's structure only


def test_sizes_and_ends():
    assert (BYTES.vocab_size, BYTES.eos_id) == (257, 0)
    assert BYTES.encode("aé") == [1 + 0x61, 1 + 0xC3, 1 + 0xA9]
    assert (BPE.vocab_size, BPE.eos_id) == (300, 0)
    assert len(BPE.encode(TEXTS[0])) < len(TEXTS[0].encode()) / 2
    assert BPE.byte_lengths().shape == (300,) and BPE.byte_lengths()[0] == 0 and (BPE.byte_lengths()[1:] > 0).all()
    assert Tokenizer.resolve("bpe:100000", ["ab ab ab"]).vocab_size < 300  # no more to learn


def test_token_text_shows_every_token():
    assert "".join(BPE.token_text(i) for i in BPE.encode("the people of 1790")) == "the people of 1790"
    assert BPE.token_text(0) == EOS
    assert BYTES.token_text(1 + 0xE2) == "\\xe2"
    assert BYTES.token_text(257) == "<257>"


def test_long_texts_in_pieces_give_the_same_ids(monkeypatch):
    text = "".join(TEXTS) * 5 + "\n\n  a\nb\n\nc d\n'll\nre 12\n34" * 20
    whole = [BPE.encode(text), BYTES.encode(text)]
    trained = Tokenizer.train_bpe(320, [text]).hash
    monkeypatch.setattr(room, "PIECE_CHARS", 40)
    assert len(list(BPE.encode_parts([text]))) > 20
    assert [BPE.encode(text), BYTES.encode(text)] == whole
    assert Tokenizer.train_bpe(320, [text]).hash == trained


def test_half_a_surrogate_pair_is_bad_input():
    with pytest.raises(UserError, match="not valid Unicode"):
        BPE.encode("a\ud800")


def test_save_and_load_keep_everything(tmp_path):
    BPE.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        again = Tokenizer.from_file(path)
        assert (again.hash, again.eos_id, again.vocab_size) == (BPE.hash, 0, 300)
        assert again.encode(TEXTS[0]) == BPE.encode(TEXTS[0])
    assert Tokenizer.resolve(str(tmp_path)).hash == BPE.hash
    assert len(BPE.hash) == 64 and BPE.hash != BYTES.hash
    # Reformatting the file is no change; another merge is.
    fields = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields, indent=3, sort_keys=True))
    assert Tokenizer.from_file(tmp_path).hash == BPE.hash
    fields["model"]["merges"].pop()
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    assert Tokenizer.from_file(tmp_path).hash != BPE.hash


def test_bpe_training_is_deterministic_in_every_process():
    code = (
        "from unmask.model.tokenizers import Tokenizer\n"
        "texts = [f'{i * 7919 % 1000} laws and {i % 37} words, peace {i}' for i in range(2000)]\n"
        "print(Tokenizer.train_bpe(600, texts).hash)"
    )
    environments = [
        {"PYTHONHASHSEED": "1", "TOKENIZERS_PARALLELISM": "true"},
        {"TOKENIZERS_PARALLELISM": "false"},
    ]
    hashes = {
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        for env in environments
    }
    assert len(hashes) == 1


# ---------------------------------------------------------------------- other people's tokenizers


def test_a_foreign_tokenizer_by_folder(tmp_path):
    tokenizer = Tokenizer.resolve(str(write_foreign(tmp_path / "words")))
    assert tokenizer.vocab_size == 7
    assert tokenizer.eos_id == 2  # </s>, the well-known name
    assert tokenizer.encode("we the people we the people") == [4, 5, 6] * 2  # no <s>, not truncated, not padded
    assert tokenizer.byte_lengths().tolist() == [0, 0, 0, 0, 2, 3, 6]


def test_bytes_of_added_tokens(tmp_path):
    inner = tokenizers.Tokenizer.from_str(BPE.to_json())
    inner.add_tokens(["é東"])  # stored as it is, where the model's own tokens are stored byte by byte
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(tmp_path)
    assert tokenizer.encode("é東") == [300] and tokenizer.n_bytes([300]) == 5
    assert tokenizer.token_text(300) == "é東"


def test_bytes_of_a_sentencepiece_vocabulary(tmp_path):
    vocab = {"<unk>": 0, "</s>": 1, "<0x0A>": 2, "▁the": 3, "é": 4, "▁": 5}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    inner.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()])
    inner.add_special_tokens(["<unk>", "</s>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(tmp_path)
    assert tokenizer.byte_lengths().tolist() == [0, 0, 1, 4, 2, 1]
    assert [tokenizer.token_text(i) for i in range(1, 5)] == ["</s>", "\n", " the", "é"]


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "spec, message",
    [
        ("bpe", "no size; write for example bpe:4096"),
        ("bpe:many", "no size"),
        ("bpe:256", "257"),
        ("byte:4096", r"did you mean 'bytes'\?"),
        ("no/such/folder", "does not exist"),
        ("nobody/has-this-one", "could not be fetched from the hub"),
    ],
)
def test_specs_that_name_nothing(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        Tokenizer.resolve(spec, TEXTS)
    assert spec in str(caught.value) and "\n" not in str(caught.value)


def test_bpe_size():
    assert [bpe_size(s) for s in ("bpe:4096", "bpe:32_000", "bytes", "bpe-like/name")] == [
        4096,
        32000,
        None,
        None,
    ]


def test_files_that_are_no_tokenizers(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer.json does not exist; a tokenizer is a folder"):
        Tokenizer.from_file(tmp_path)
    (tmp_path / "tokenizer.model").touch()
    with pytest.raises(UserError, match="only a sentencepiece model"):
        Tokenizer.from_file(tmp_path)
    for content in (b"{", b'{"version": "1.0"}', b"\xff\xfe", b"[]"):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(UserError, match=r"tokenizer.json (is not a tokenizer.json|cannot be read)"):
            Tokenizer.from_file(tmp_path)
    BPE.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(UserError, match="tokenizer_config.json is not a JSON object"):
        Tokenizer.from_file(tmp_path)


def test_bytes_of_half_a_character_leave_the_ones_before_alone():
    vocab = {"<unk>": 0, "</s>": 1} | {f"<0x{byte:02X}>": 2 + byte for byte in range(256)}
    vocab |= {piece: len(vocab) + n for n, piece in enumerate(("▁", "▁the", "a", "日"))}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    parts = [tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()]
    inner.decoder = tokenizers.decoders.Sequence([*parts, tokenizers.decoders.Strip(" ", 1, 0)])
    inner.add_special_tokens(["<unk>", "</s>"])
    tokenizer = Tokenizer(inner.to_str())

    def of(*bytes_: int) -> list[int]:
        return [2 + byte for byte in bytes_]

    assert tokenizer.decode([259, *of(0xE6, 0x97, 0xA5, 0xC3)]) == "the日\ufffd"
    assert tokenizer.decode([*of(0xC3, 0xA9), 258, *of(0x41), 261, *of(0xFF)]) == "é A日\ufffd"
    assert tokenizer.decode([*of(0xE6, 0x97), 1, *of(0xA5)]) == "日"  # a special token is no text between
    rng = np.random.default_rng(0)
    for _ in range(300):  # whole characters are what the library makes of them
        ids = [i for c in rng.choice(list("aé€𝄞"), 5) for i in (of(*c.encode()) if c != "a" else [260])]
        ids = [258, 259, *ids, 258]
        assert tokenizer.decode(ids) == inner.decode(ids, skip_special_tokens=True)


def test_special_and_unknown_ids_stand_for_no_text():
    ids = [0, *BPE.encode("the people"), 0, BPE.vocab_size, 10**6]
    assert BPE.decode(ids) == "the people"
    assert BPE.n_bytes(ids) == len("the people")
