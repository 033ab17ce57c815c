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

from unmask.model import cutting
from unmask.model.cutting import WORD, cuts_plainly, encode_pieces, plain_pieces, training_pieces
from unmask.model.tokenizers import Tokenizer

WORDS = (
    "the people, of our country's laws don't stand while peace 1790 is kept among the nations Überfluß 東京 €5".split()
)
TEXT = " ".join(random.Random(0).choices(WORDS, k=3000)) + "\n\n" + "  def f(x):\n\treturn x_1  # ======\n" * 40
LETTERS = "".join(random.Random(1).choices("acgt", k=2000))
SPECIAL = ["<unk>", "<s>", "</s>"]


def bpe(
    over: str = TEXT + LETTERS, size: int = 500, drops: bool = False, fallback: bool = True, **pipeline: Any
) -> tokenizers.Tokenizer:
    """Without pre-tokenizer unless told; `drops`: what is not in the vocabulary, which shifts the library's offsets."""
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    for name, part in pipeline.items():
        setattr(inner, name, part)
    alphabet = [f"<0x{byte:02X}>" for byte in range(256 if fallback else 0)]
    trainer = trainers.BpeTrainer(vocab_size=size + 256, special_tokens=SPECIAL + alphabet, show_progress=False)
    # Learned word by word with a space before each, as sentencepiece does; whole lines would learn whole lines.
    learner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator([over], trainer)
    learned = json.loads(learner.to_str())["model"]
    fields = json.loads(inner.to_str())
    fields["model"] |= {"vocab": learned["vocab"], "merges": learned["merges"]}
    fields["model"] |= {"byte_fallback": fallback, "fuse_unk": True}
    if drops:
        fields["model"] |= {"byte_fallback": False, "fuse_unk": False, "unk_token": None}
    return tokenizers.Tokenizer.from_str(json.dumps(fields))


def byte_level(pre: Any, normalizer: Any = None) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre, decoders.ByteLevel()
    if normalizer is not None:
        inner.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        [TEXT, LETTERS], trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    )
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
    inner.train_from_iterator(
        [TEXT], trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    )
    return inner


def with_added(inner: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Tokens that are found in text, with space around them taken in, or over two words."""
    inner.add_tokens(
        [tokenizers.AddedToken("of our", single_word=True), tokenizers.AddedToken("<t>", lstrip=True, rstrip=True)]
    )
    inner.add_tokens([tokenizers.AddedToken("==")])
    return inner


CL100K = r"(?i:'[stmd]|'re|'ve|'ll)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
CL100K += r"|\s*[\r\n]+|\s+(?!\S)|\s+"
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
    "dropping": lambda: bpe(TEXT, 300, normalizer=normalizers.Prepend("▁"), drops=True),
    "fusing": lambda: bpe("abc abd", 10, normalizer=normalizers.Prepend("▁"), fallback=False),
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
    st.lists(
        st.sampled_from([*WORDS, " ", "\n", "\r\n", "of our", "<t>", "==", "</s>", "'", "é", "e\u0301", "ﬁ"]),
        max_size=40,
    ).map(" ".join),
    st.builds(
        lambda sign, n: sign * n,
        st.sampled_from(["a", "ac", "acg", "7", "123", " ", "=", "\n", "東", "\u0301", "it "]),
        st.integers(1, 400),
    ),
    st.integers(0, 1500).map(lambda start: LETTERS[start : start + 400]),
)


@pytest.mark.parametrize("name", KINDS)
@given(stretches=st.lists(STRETCH, min_size=1, max_size=12), size=st.integers(1, 200), cut=st.integers(1, 500))
def test_pieces_give_the_ids_of_the_whole(name: str, stretches: list[str], size: int, cut: int) -> None:
    inner, fields = kind(name)
    text = "".join(stretches)
    parts = [text[at : at + cut] for at in range(0, len(text), cut)]
    assert parted(inner, fields, parts, size) == whole(inner, text)


class Counting:
    """A tokenizer that notes how much it is given."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self.inner, self.longest, self.total = inner, 0, 0

    def __getattr__(self, name: str) -> Any:
        def call(texts: list[str], **options: Any) -> Any:
            self.longest, self.total = max(self.longest, len(texts[0])), self.total + len(texts[0])
            return getattr(self.inner, name)(texts, **options)

        return call


LONG = {
    "prose": " ".join(random.Random(2).choices(WORDS, k=20_000)),
    "letters": "".join(random.Random(3).choices("acgt", k=100_000)),
    "one letter": "a" * 100_000,
    "digits": "".join(random.Random(4).choices("0123456789", k=100_000)),
    "spaces": " " * 100_000,
    "without spaces": "東京都市。" * 20_000,
}


BY_WORD = ("t5", "bert")  # a word of a unigram or WordPiece model is encoded whole, however long
SOUND = [name for name in KINDS if name not in ("dropping", "fusing", "unigram-whole")]
BOUNDED = [(name, text) for name in SOUND for text in LONG if name not in BY_WORD or text == "prose"]


@pytest.mark.parametrize(("name", "text"), BOUNDED)
def test_no_more_than_a_window_is_encoded_at_once(name: str, text: str) -> None:
    inner, fields = kind(name)
    counting = Counting(inner)
    assert parted(counting, fields, [LONG[text]], 8000) == whole(inner, LONG[text])
    assert counting.longest <= 16_000 and counting.total < 1.6 * len(LONG[text])


def test_which_tokenizers_cut_plainly() -> None:
    assert [name for name in KINDS if cuts_plainly(kind(name)[1])] == ["gpt2"]
    assert cuts_plainly(json.loads(Tokenizer.plain_bytes().to_json()))


@given(text=st.text(alphabet=" \n\r\tab1'_.,é\xa0\u2003\x1c東。²Ⅷ\u0301"), size=st.integers(1, 5))
def test_a_plain_cut_is_a_token_boundary(text: str, size: int) -> None:
    inner, _ = kind("gpt2")
    pieces = list(plain_pieces([text], size))
    assert "".join(piece for piece, _ in pieces) == text
    clean = [piece for piece, _ in pieces] if all(clean for _, clean in pieces) else [text]
    assert [i for piece in clean for i in whole(inner, piece)] == whole(inner, text)


# ---------------------------------------------------------------------- what a tokenizer is trained on


def words_of(texts: list[str]) -> list[str]:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return [word for text in texts for word, _ in split.pre_tokenize_str(text)]


@given(parts=st.lists(st.one_of(st.text(max_size=40), st.sampled_from(WORDS)), max_size=30), size=st.integers(1, 60))
def test_training_sees_the_words_of_the_whole(parts: list[str], size: int) -> None:
    text = " ".join(parts)
    if not any(len(word) > 16 * size for word in text.split()):
        assert words_of(list(training_pieces([text], size))) == words_of([text])


def test_long_words_are_cut_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer's work at a merge is the length of all words that hold the pair."""
    text = f"the people {'acgt' * 25_000} of {'=' * 3000} and {'7' * 3000}{' ' * 3000}end"
    pieces = list(training_pieces([text], 1 << 17))
    assert "".join(pieces) == text
    assert max(len(word) for word in words_of(pieces)) <= WORD + 1
    told: list[str] = []
    monkeypatch.setattr(cutting, "LONG_WORDS", 1000)
    pieces = list(training_pieces([text], 1 << 17, told.append))
    assert len("".join(pieces)) < 1000 + 200 and "".join(pieces).startswith("the people acgt") and len(told) == 1


def test_a_million_letters_are_learned_from_in_no_time() -> None:
    """Merges over one word of a million letters took as many steps each."""
    text = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
    assert Tokenizer.train_bpe(1000, [text]).vocab_size == 1000
