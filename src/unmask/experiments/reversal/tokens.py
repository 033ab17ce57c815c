"""Tokenizers that write a name in few tokens, and a model whose tokenizer has grown by names.

    tokenizer = word_tokenizer(lines)                 # each word one token; what it does not know is bytes
    tokenizer = grown(base.tokenizer, names)          # a byte-level BPE with merges until each name is two tokens
    widened(base.network, tokenizer.vocab_size)       # rows of new tokens are the mean of their pieces

Lines stand behind a space (`text_of`), so that a word is the same token at a line's start and inside. How many tokens a
name has decides whether masks ever hide all of it, which is when the other direction is learned.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.tokenizers import EOS, Tokenizer
from unmask.model.transformer import Transformer


def text_of(line: str) -> str:
    """A line as it is encoded."""
    return " " + line.strip()


def word_tokenizer(lines: Iterable[str], whole: Iterable[str] = ()) -> Tokenizer:
    """Words and signs of the lines as tokens, in the order of the alphabet; `whole`: names that are one token each."""
    from tokenizers import Tokenizer as Inner
    from tokenizers import decoders, models, pre_tokenizers

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for line in lines for word, _ in splitter.pre_tokenize_str(text_of(line))}
    vocab = {EOS: 0}
    for word in [*sorted(pre_tokenizers.ByteLevel.alphabet()), *sorted(words)]:
        vocab.setdefault(word, len(vocab))
    inner = Inner(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    inner.pre_tokenizer, inner.decoder = splitter, decoders.ByteLevel()
    inner.add_special_tokens([EOS])
    inner.add_tokens([" " + name for name in whole])
    return Tokenizer(inner.to_str())


def grown(base: Tokenizer, words: Iterable[str]) -> Tokenizer:
    """A byte-level BPE with further merges, so that each of these words behind a space is one token.

    Raises `UserError` for a tokenizer of another kind.
    """
    fields = json.loads(base.to_json())
    model, split = fields["model"], fields.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or split.get("type") != "ByteLevel":
        raise UserError("the base's tokenizer is no byte-level BPE, which can be grown; give another --base")
    vocab, merges = model["vocab"], model["merges"]
    for token in fields["added_tokens"]:
        vocab.setdefault(token["content"], token["id"])
    known = {tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges}
    for word in dict.fromkeys(words):
        pieces = pieces_of(fields, word)
        while len(pieces) > 1:
            pair, joint = (pieces[0], pieces[1]), pieces[0] + pieces[1]
            if pair not in known:
                known.add(pair)
                merges.append(list(pair))
            vocab.setdefault(joint, len(vocab))
            pieces = [joint, *pieces[2:]]
    return Tokenizer(json.dumps(fields, ensure_ascii=False))


def pieces_of(fields: dict[str, Any], word: str) -> list[str]:
    """The tokens, as the file spells them, of a word behind a space."""
    from tokenizers import Tokenizer as Inner

    pieces: list[str] = Inner.from_str(json.dumps(fields)).encode(" " + word, add_special_tokens=False).tokens
    return pieces


def widened(network: Transformer, base: Tokenizer, tokenizer: Tokenizer) -> Transformer:
    """The network with rows for the tokens that `tokenizer` has more: each the mean of those of its pieces."""
    old, config = network.config, network.config.to_dict()
    wide = Transformer(ModelConfig.from_dict({**config, "vocab_size": tokenizer.vocab_size}), seed=0)
    weights, known = wide.state_dict(), network.state_dict()
    texts = {token: tokenizer.decode([token]) for token in range(old.vocab_size, tokenizer.vocab_size)}
    pieces = {token: base.encode(text) for token, text in texts.items()}
    for name, tensor in known.items():
        if tensor.shape == weights[name].shape:
            weights[name] = tensor
            continue
        rows = weights[name].clone()
        rows[: old.vocab_size] = tensor[: old.vocab_size]
        for token, parts in pieces.items():
            rows[token] = tensor[parts].mean(dim=0)
        if len(tensor) > old.vocab_size:  # the mask's row is the last
            rows[-1] = tensor[-1]
        weights[name] = rows
    wide.load_state_dict(weights)
    return wide.eval()


def tokens_a_name(tokenizer: Tokenizer, names: Iterable[str]) -> float:
    """Mean tokens of a name inside a line."""
    counts = [len(tokenizer.encode(" " + name)) for name in names]
    return sum(counts) / len(counts)
