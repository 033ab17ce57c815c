"""Tokens of names, and a base that learns some more of them."""

from __future__ import annotations

import json

import pytest
import torch

from experiments.reversal.folk import NAMES, TEXTS
from unmask.errors import UserError
from unmask.experiments.reversal.tokens import grown, text_of, tokens_a_name, widened, word_tokenizer
from unmask.model.config import ModelConfig
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


def test_a_name_has_two_tokens_the_same_at_the_start_and_inside() -> None:
    tokenizer = word_tokenizer(TEXTS)
    for name in NAMES:
        ids = tokenizer.encode(text_of(f"{name} is"))[:2]
        assert tokenizer.encode(text_of(f"So {name}."))[-3:-1] == ids
        assert tokenizer.decode(ids) == f" {name}"
    assert tokens_a_name(word_tokenizer(TEXTS, NAMES), NAMES) == 1
    unknown = text_of("Zebra Zürich?")
    assert tokenizer.decode(tokenizer.encode(unknown)) == unknown


def test_a_bpe_grows_until_names_are_two_tokens_and_says_the_rest_as_before() -> None:
    base = Tokenizer.train_bpe(300, ["the state of the union is strong " * 3])
    assert tokens_a_name(base, NAMES) > 6
    tokenizer = grown(base, [word for name in NAMES for word in name.split()])
    assert tokens_a_name(tokenizer, NAMES) == 2
    assert tokenizer.encode(" the state of the union") == base.encode(" the state of the union")
    for text in TEXTS[::17]:
        assert tokenizer.decode(tokenizer.encode(text_of(text))) == text_of(text)
    with pytest.raises(UserError, match="no byte-level BPE"):
        grown(Tokenizer(json.dumps({**json.loads(base.to_json()), "pre_tokenizer": {"type": "Whitespace"}})), NAMES)


@pytest.mark.parametrize("causal", [False, True])
def test_a_widened_network_says_of_old_tokens_what_it_said(causal: bool) -> None:
    base = Tokenizer.train_bpe(300, TEXTS)
    tokenizer = grown(base, NAMES[0].split())
    config = ModelConfig(n_layer=1, n_head=2, n_embd=8, vocab_size=base.vocab_size, block_size=8, causal=causal)
    network = Transformer(config, seed=1).eval()
    wide = widened(network, base, tokenizer)
    ids = torch.tensor([[5, 80, 17, 4]])
    old, new = ids.clone(), ids.clone()
    if not causal:
        old[0, 2], new[0, 2] = network.config.mask_id, wide.config.mask_id
    torch.testing.assert_close(wide(new)[..., : base.vocab_size], network(old))
