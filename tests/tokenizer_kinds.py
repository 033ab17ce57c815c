"""Small tokenizers of every common kind, trained here, and random texts to try them on.

    KINDS["llama-2"]()          # a `Tokenizer` whose pipeline is Llama-2's
    random_text(rng)            # words, marks, white space, other scripts, characters that few vocabularies hold

The pipelines (normalizer, pre-tokenizer, model, decoder) are those of the published files; only the vocabularies are
small.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from unmask.model.tokenizers import Tokenizer

BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
WORDS = (
    "the people of these United States have a government; its laws are what they make them. In 1790 he said: yes, no, "
    "don't (we) hope? A state's peace & order! Überfluß für 東京 naïve café ## heads -- tails 'quoted' <tag> x=1"
).split()
MARKS = ["\n", "\n\n", "\t", "  ", "   ", "\r\n", ".", ",", "'s", "-"]
MARKS += ["🙂", "👩‍👩‍👧", "e\u0301", "\u00a0", "☃", "▁", "\u200d"]
MARKS += ["<s>", "<|im_end|>"]  # as text


def corpus(count: int = 400) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=12)) for _ in range(count)]


def random_text(rng: random.Random) -> str:
    parts: list[str] = []
    for _ in range(rng.randint(1, 14)):
        parts.append(rng.choice(WORDS) if rng.random() < 0.7 else rng.choice(MARKS))
        if rng.random() < 0.75:
            parts.append(" ")
    return "".join(parts)


def cuts(rng: random.Random, text: str) -> list[str]:
    """The text in one to five parts, some of them empty."""
    ends = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 4)))
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


@cache
def llama_2() -> Tokenizer:
    """A space before everything it is given, by its normalizer; bytes for what the vocabulary lacks."""
    inner = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    marks = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(marks)
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*SPECIAL, *BYTE_TOKENS], show_progress=False)
    # Sentencepiece lets no token reach over the beginning of a word.
    inner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    inner.train_from_iterator(corpus(), trainer)
    inner.pre_tokenizer = None
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return without_bytes_special(inner)


def without_bytes_special(inner: tokenizers.Tokenizer) -> Tokenizer:
    """Only the true special tokens as added ones: the trainer has put the bytes among them."""
    fields = json.loads(inner.to_str())
    fields["added_tokens"] = [token for token in fields["added_tokens"] if token["content"] in SPECIAL]
    return Tokenizer(json.dumps(fields))


@cache
def mistral() -> Tokenizer:
    """The newer rule: a space before a text's first word alone, by the pre-tokenizer."""
    fields = json.loads(llama_2().to_json())
    fields["normalizer"] = None
    fields["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return Tokenizer(json.dumps(fields))


def unigram(vocab_size: int) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    inner.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    inner.train_from_iterator(corpus(), trainer)
    return inner


@cache
def t5() -> Tokenizer:
    """Words apart at white space, which is lost but for one space; a space before everything; no bytes."""
    inner = unigram(300)
    spaces = [normalizers.Strip(left=False, right=True), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    inner.normalizer = normalizers.Sequence([normalizers.NFKC(), *spaces])
    split = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    inner.pre_tokenizer = pre_tokenizers.Sequence(split)
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return Tokenizer(inner.to_str())


@cache
def metaspace_unigram() -> Tokenizer:
    """T5's model without its normalizer."""
    return Tokenizer(unigram(300).to_str())


def byte_level(add_prefix_space: bool) -> Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(corpus(), trainer)
    return Tokenizer(inner.to_str())


@cache
def gpt2() -> Tokenizer:
    return byte_level(False)


@cache
def gpt2_prefix() -> Tokenizer:
    """As RoBERTa's."""
    return byte_level(True)


@cache
def bert() -> Tokenizer:
    """Lower case, accents off, words and ##pieces: spaces follow from the neighbours."""
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    return Tokenizer(inner.to_str())


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "llama-2": llama_2,
    "mistral": mistral,
    "t5": t5,
    "metaspace-unigram": metaspace_unigram,
    "gpt-2": gpt2,
    "gpt-2 prefix": gpt2_prefix,
    "bytes": cache(Tokenizer.plain_bytes),
    "bert": bert,
}
