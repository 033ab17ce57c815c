"""Templates around turns, as tokens: no space that the text does not hold, a template's special tokens as ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenizer_kinds import KINDS, gpt2, llama_2, mistral
from unmask.data.chat import TEMPLATES, TemplateFields, Turn, render, template
from unmask.data.sft import Examples, read_examples
from unmask.data.sft_fields import SFTFields
from unmask.model.tokenizers import Tokenizer

PAIR = {"prompt": "In 1790 he said:", "completion": "yes, no, don't"}
CHAT = {
    "messages": [
        {"role": "system", "content": "have hope."},
        {"role": "user", "content": "the people?"},
        {"role": "assistant", "content": "yes (we) have"},
        {"role": "user", "content": "no <|im_end|>"},
        {"role": "assistant", "content": "a state's peace"},
    ]
}
# What white space and capitals they keep lets a text be compared.
KINDS_OF_TEXT = ["llama-2", "mistral", "gpt-2", "gpt-2 prefix", "bytes"]


def read(tmp_path: Path, tokenizer: Tokenizer, row: Any, bos: int | None = None, **fields: Any) -> Examples:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    assert tokenizer.eos_id is not None
    return read_examples(str(path), SFTFields(**fields), tokenizer, tokenizer.eos_id, 1000, bos)


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
@pytest.mark.parametrize("name", ["raw", "plain", "vicuna"])
def test_a_pair_is_the_running_text(tmp_path: Path, kind: str, name: str) -> None:
    tokenizer = KINDS[kind]()
    examples = read(tmp_path, tokenizer, PAIR, template=name)
    prompt, answer = render([Turn("user", PAIR["prompt"]), Turn("assistant", PAIR["completion"])], template(name))
    ids, first = examples.ids(0).tolist(), tokenizer.encode(prompt.text)
    assert tokenizer.decode(ids) == prompt.text + answer.text
    whole = tokenizer.encode(prompt.text + answer.text)
    assert ids[: len(first)] == first and ids[-1] == tokenizer.eos_id
    assert ids[:-1] == whole or whole[: len(first)] != first
    assert examples.learned(0).tolist() == [False] * len(first) + [True] * (len(ids) - len(first))


def test_an_answer_without_a_space_has_none(tmp_path: Path) -> None:
    for kind in ("llama-2", "mistral", "metaspace-unigram", "gpt-2 prefix"):
        tokenizer = KINDS[kind]()
        for row in ({"prompt": "the people:", "completion": "yes"}, {"prompt": "the people\n", "completion": "a"}):
            ids = read(tmp_path, tokenizer, row, template="raw").ids(0).tolist()
            assert ids[:-1] == tokenizer.encode(row["prompt"] + row["completion"])


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_is_its_text_whatever_ends_between(tmp_path: Path, kind: str, name: str) -> None:
    tokenizer = KINDS[kind]()
    parts = render([Turn(m["role"], m["content"]) for m in CHAT["messages"]], template(name))
    ids = read(tmp_path, tokenizer, CHAT, template=name).ids(0).tolist()
    text = ""
    for words, own in (piece for part in parts for piece in part.pieces):
        # The template's special tokens stand for no text, the turn's <|im_end|> is text.
        text += "".join(piece for piece in tokenizer.specials.split(words) if isinstance(piece, str)) if own else words
    assert tokenizer.decode(ids) == text and "no <|im_end|>" in text
    assert ids.count(tokenizer.eos_id) == 2


@pytest.mark.parametrize("make", [llama_2, mistral, gpt2], ids=lambda make: make.__name__)
def test_a_templates_special_tokens_are_ids_and_a_turns_are_text(tmp_path: Path, make: Any) -> None:
    tokenizer = make()
    start, end = (tokenizer.specials.ids[token] for token in ("<|im_start|>", "<|im_end|>"))
    examples = read(tmp_path, tokenizer, CHAT, template="chatml")
    ids = examples.ids(0).tolist()
    assert (ids.count(start), ids.count(end)) == (5, 3)
    # The prompt is what `special_tokens=True` makes of its text, where no turn spells one.
    prompt = "<|im_start|>user\nthe people?<|im_end|>\n<|im_start|>assistant\n"
    row = {"prompt": "the people?", "completion": "yes"}
    alone = read(tmp_path, tokenizer, row, template="chatml")
    first = tokenizer.encode(prompt, special_tokens=True)
    assert alone.ids(0).tolist()[: len(first)] == first and not alone.learned(0)[: len(first)].any()
    assert tokenizer.decode(alone.ids(0)) == "user\nthe people?\nassistant\nyes"
    nasty = {"prompt": "a <|im_start|>", "completion": "<|im_end|>"}
    for name in TEMPLATES:
        found = read(tmp_path, tokenizer, nasty, template=name)
        assert found.ids(0).tolist().count(start) == (2 if name == "chatml" else 0)
        assert found.ids(0).tolist().count(end) == (1 if name == "chatml" else 0)


def test_strings_of_ones_own_and_a_begin_token(tmp_path: Path) -> None:
    tokenizer = llama_2()
    strings = TemplateFields(user="<s>[ {content} ]", answer=" {content}")
    row = {"prompt": "the people", "completion": "yes"}
    spelled = read(tmp_path, tokenizer, row, strings=strings)
    assert spelled.ids(0).tolist()[:-1] == [1, *tokenizer.encode("[ the people ] yes")]
    for found in (spelled, read(tmp_path, tokenizer, row, bos=1, strings=strings)):
        assert found.ids(0).tolist() == spelled.ids(0).tolist() and not found.learned(0)[0]
    plain = read(tmp_path, tokenizer, row, bos=1)
    assert plain.ids(0).tolist()[:-1] == [1, *tokenizer.encode("the people\nyes")] and not plain.learned(0)[0]
    unasked = {"messages": [{"role": "assistant", "content": "yes"}, *CHAT["messages"][1:3]]}
    with pytest.raises(Exception, match="1 without a prompt"):
        read(tmp_path, tokenizer, unasked, bos=1)


def test_gsm8k_in_two_examples(tmp_path: Path) -> None:
    tokenizer = mistral()
    row = {"question": "the people?", "answer": "yes (we) have\n#### 1790"}
    examples = read(tmp_path, tokenizer, row, format="gsm8k", template="chatml")
    texts = [tokenizer.decode(examples.ids(i)) for i in range(2)]
    thought = "user\nthe people?\nassistant\nyes (we) have"
    assert texts == [thought, f"{thought}\n#### 1790"]
    plain = read(tmp_path, tokenizer, row, format="gsm8k")
    assert plain.ids(1).tolist()[:-1] == tokenizer.encode("the people?\nyes (we) have\n#### 1790")
