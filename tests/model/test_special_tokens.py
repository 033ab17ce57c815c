"""Special tokens, and which of them ends a sequence."""

from __future__ import annotations

import json

import pytest
import tokenizers

from model.foreign import write_foreign
from unmask.errors import UserError
from unmask.model.special_tokens import Specials, declared, side_files
from unmask.model.tokenizers import Tokenizer

ADDED = [
    {"id": 1, "content": "<|im|>", "special": True},
    {"id": 2, "content": "<|im|>end", "special": True},
    {"id": 3, "content": "<mask>", "special": True, "lstrip": True},
    {"id": 4, "content": "word", "special": False},
]


@pytest.mark.parametrize(
    "side",
    [
        ("tokenizer_config.json", "<|im_end|>"),
        ("special_tokens_map.json", {"content": "<|im_end|>", "lstrip": False}),
    ],
)
def test_a_declared_eos_wins_and_survives_saving(tmp_path, side):
    folder = write_foreign(tmp_path / "words")
    (folder / side[0]).write_text(json.dumps({"eos_token": side[1]}))
    tokenizer = Tokenizer.from_file(folder)
    assert tokenizer.eos_id == 3
    alone = tmp_path / "alone"
    alone.mkdir()
    tokenizer.save(alone)
    assert [path.name for path in alone.iterdir()] == ["tokenizer.json"]
    again = Tokenizer.from_file(alone)
    assert (again.eos_id, again.hash) == (3, tokenizer.hash)
    assert again.encode("we the people") == tokenizer.encode("we the people")
    tokenizers.Tokenizer.from_file(str(alone / "tokenizer.json"))  # still everyone's format


def test_an_eos_that_is_an_ordinary_word(tmp_path):
    folder = write_foreign(tmp_path / "words")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "people"}')
    tokenizer = Tokenizer.from_file(folder)
    tokenizer.save(tmp_path)
    assert tokenizer.eos_id == Tokenizer.from_file(tmp_path).eos_id == 6
    (folder / "tokenizer_config.json").write_text('{"eos_token": "nobody"}')
    with pytest.raises(UserError, match="eos_token 'nobody', which the vocabulary lacks"):
        Tokenizer.from_file(folder)


def test_no_eos_at_all(tmp_path):
    folder = write_foreign(tmp_path / "words", special=("<s>",))
    assert Tokenizer.from_file(folder).eos_id is None


def test_a_text_is_split_at_the_longest_special_token_and_some_take_their_space_along():
    specials = Specials(ADDED)
    assert specials.ids == {"<|im|>": 1, "<|im|>end": 2, "<mask>": 3}
    assert specials.split("<|im|>a word<|im|>end  <mask> b") == [1, "a word", 2, 3, " b"]
    assert specials.split("") == [] and Specials([]).split("<mask>") == ["<mask>"]


def test_the_first_file_that_says_something_counts(tmp_path):
    first, second = tmp_path / "tokenizer_config.json", tmp_path / "special_tokens_map.json"
    first.write_text('{"add_bos_token": false}')
    second.write_text('{"eos_token": {"content": "</s>"}, "add_bos_token": true}')
    files = side_files(tmp_path)
    assert files == [first, second]
    assert [declared(files, name) for name in ("eos_token", "add_bos_token", "x")] == ["</s>", False, None]
    first.write_text("[1]")
    with pytest.raises(UserError, match="tokenizer_config.json is not a JSON object"):
        declared(files, "eos_token")
