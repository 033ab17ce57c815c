"""Texts encoded in bounded pieces give the ids of the whole, whatever the tokenizer; trained on, the same words."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from unmask.model.cutting import encode_pieces

WORDS = "the people, of our country's laws don't stand while peace 1790 is kept among the nations Überfluß 東京 €5".split()
TEXT = " ".join(random.Random(0).choices(WORDS, k=3000)) + "\n\n" + "  def f(x):\n\treturn x_1  # ======\n" * 40
LETTERS = "".join(random.Random(1).choices("acgt", k=2000))
SPECIAL = ["<unk>", "<s>", "</s>"]


def bpe(merges_over: str = TEXT + LETTERS, size: int = 500, **pipeline: Any) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    for name, part in pipeline.items():
        setattr(inner, name, part)
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size + 256, special_tokens=SPECIAL + alphabet, show_progress=False)
    # Learned word by word with a space before each, as sentencepiece does; whole lines would learn whole lines.
    learner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator([merges_over], trainer)
    learned = json.loads(learner.to_str())["model"]
    fields = json.loads(inner.to_str())
    fields["model"] |= {"vocab": learned["vocab"], "merges": learned["merges"], "byte_fallback": True, "fuse_unk": True}
    return tokenizers.Tokenizer.from_str(json.dumps(fields))


def byte_level(pre: Any, normalizer: Any = None) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre, decoders.ByteLevel()
    if normalizer is not None:
        inner.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator([TEXT, LETTERS], trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False))
    return inner


def llama_2() -> tokenizers.Tokenizer:
    """One word of all the text, a space put before it."""
    return bpe(normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]))


def unigram(pre: Any) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    inner.pre_tokenizer = pre
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator([TEXT, LETTERS], trainer)
    return inner


def word_piece() -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    inner.train_from_iterator([TEXT], trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False))
    return inner


def with_added(inner: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Tokens that are found in text, with space around them taken in, or over two words."""
    inner.add_tokens([tokenizers.AddedToken("of our", single_word=True), tokenizers.AddedToken("<t>", lstrip=True, rstrip=True)])
    inner.add_tokens([tokenizers.AddedToken("==")])
    return inner


CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KINDS = {
    "gpt2": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "gpt2-prefix": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "gpt2-added": lambda: with_added(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))),
    "gpt4": lambda: byte_level(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(CL100K), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        normalizers.NFC(),
    ),
    "smollm": lambda: byte_level(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    ),
    "bytes-merged": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    "llama-2": llama_2,
    "llama-2-added": lambda: with_added(llama_2()),
    "mistral": lambda: bpe(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "gemma": lambda: bpe(
        normalizer=normalizers.Replace(" ", "▁"), pre_tokenizer=pre_tokenizers.Split(" ", "merged_with_previous")
    ),
    "t5": lambda: unigram(pre_tokenizers.Metaspace()),
    "unigram-whole": lambda: unigram(pre_tokenizers.Metaspace(split=False)),
    "bert": word_piece,
}


@cache
def kind(name: str) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    inner = KINDS[name]()
    inner.encode_special_tokens = True
    return inner, json.loads(inner.to_str())


def whole(inner: tokenizers.Tokenizer, text: str) -> list[int]:
    return inner.encode(text, add_special_tokens=False).ids


def parted(inner: tokenizers.Tokenizer, fields: dict[str, Any], parts: list[str], size: int) -> list[int]:
    return [int(i) for ids in encode_pieces(inner, fields, parts, size) for i in ids]


# Prose, code, runs of one letter, of digits, of spaces, words of thousands of letters, what added tokens touch.
STRETCH = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from([*WORDS, " ", "\n", "\r\n", "of our", "<t>", "==", "</s>", "'", "é", "e\u0301", "ﬁ"]), max_size=40).map(" ".join),
    st.builds(lambda sign, n: sign * n, st.sampled_from(["a", "ac", "acg", "7", "123", " ", "=", "\n", "東", "\u0301", "it "]), st.integers(1, 400)),
    st.integers(0, 1500).map(lambda start: LETTERS[start : start + 400]),
)


@pytest.mark.parametrize("name", KINDS)
@given(stretches=st.lists(STRETCH, min_size=1, max_size=12), size=st.integers(1, 200), cut=st.integers(1, 500))
def test_pieces_give_the_ids_of_the_whole(name: str, stretches: list[str], size: int, cut: int) -> None:
    inner, fields = kind(name)
    text = "".join(stretches)
    parts = [text[at : at + cut] for at in range(0, len(text), cut)]
    assert parted(inner, fields, parts, size) == whole(inner, text)
