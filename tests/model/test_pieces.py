"""A text in pieces has the ids and the characters of the running text, with tokenizers of every kind."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tokenizer_kinds import KINDS, WORDS, bert, cuts, gpt2, llama_2, mistral, random_text, t5
from unmask.model import tokenizers
from unmask.model.pieces import Pieces, inside
from unmask.model.tokenizers import Tokenizer

TEXTS = 500
SPACE_FIRST = ["llama-2", "mistral", "t5", "metaspace-unigram", "gpt-2 prefix"]
# Kinds that give back what they were given, but for some (a first space, characters that they rewrite).
FAITHFUL = {"llama-2": 400, "mistral": 400, "gpt-2": TEXTS, "gpt-2 prefix": 450, "bytes": TEXTS}


def in_pieces(tokenizer: Tokenizer, seed: int = 1) -> Counter[str]:
    """Counts of what holds for random texts cut at random places; each assertion is about a single text."""
    rng, found = random.Random(seed), Counter[str]()
    for _ in range(TEXTS):
        text = random_text(rng)
        parts = cuts(rng, text)
        pieces = Pieces(tokenizer)
        split = [pieces.add(part) for part in parts]
        ids, whole = sum(split, []), tokenizer.encode(text)
        lefts = ["".join(parts[:n]) for n in range(1, len(parts))]
        allowed = all(whole[: len(head)] == head for head in map(tokenizer.encode, lefts))
        if allowed:
            assert ids == whole, parts
        if tokenizer.decode(whole) == text and tokenizer.joins_plainly:
            assert tokenizer.decode(ids) == text, parts
            found["text back"] += 1
        behind = [tokenizer.decode_behind(sum(split[:n], []), part) for n, part in enumerate(split)]
        if tokenizer.joins_plainly and "\ufffd" not in "".join(behind):  # no character in two parts
            assert "".join(behind) == tokenizer.decode(ids)
        found["texts"] += 1
        found["cut allowed"] += allowed
        found["ids equal"] += ids == whole
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_random_texts_cut_at_random_places(kind: str) -> None:
    found = in_pieces(KINDS[kind]())
    assert found["texts"] == TEXTS and found["ids equal"] == found["cut allowed"] >= TEXTS / 3
    assert found["text back"] >= FAITHFUL.get(kind, 0)


@pytest.mark.parametrize("kind", ["llama-2", "mistral", "gpt-2 prefix", "gpt-2", "bytes"])
def test_long_pieces_are_encoded_in_bounded_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, tokenizer = random.Random(4), KINDS[kind]()
    texts = [" ".join(rng.choices(WORDS, k=400)) for _ in range(3)]
    marked = "<|im_end|>".join(texts)

    def found() -> list[list[int]]:
        pieces = Pieces(tokenizer)
        parts = [pieces.add(texts[0]), pieces.add(" " + texts[1]), tokenizer.encode_behind("no", texts[2])]
        return [*parts, tokenizer.encode(marked, special_tokens=True), inside(tokenizer, texts[0])]

    whole, inner, sizes = found(), tokenizer._inner, list[int]()

    class Counting:
        def __getattr__(self, name: str) -> object:
            def call(given: list[str], **options: object) -> object:
                sizes.extend(map(len, given))
                return getattr(inner, name)(given, **options)

            return call if name.startswith("encode_batch") else getattr(inner, name)

    monkeypatch.setattr(tokenizer, "_inner", Counting())
    monkeypatch.setattr(tokenizers, "PIECE_CHARS", 256)
    assert found() == whole and 0 < max(sizes) <= 512


@pytest.mark.parametrize("kind", SPACE_FIRST)
def test_a_piece_gets_no_space_of_its_own(kind: str) -> None:
    tokenizer = KINDS[kind]()
    assert tokenizer.puts_space and tokenizer.drops_first_space
    left, right = tokenizer.encode("the people"), tokenizer.encode_behind("the people", "s have")
    assert tokenizer.decode(left + right) == "the peoples have"
    for given in ("the people", left):
        assert tokenizer.encode_behind(given, " have") == tokenizer.encode("the people have")[len(left) :]
    assert tokenizer.decode_behind(left, right) == "s have" and tokenizer.decode(left) == "the people"
    assert tokenizer.decode_behind([], tokenizer.encode("have")) == "have"
    assert tokenizer.decode_behind([tokenizer.eos_id or 0], tokenizer.encode("have")) == "have"


@pytest.mark.parametrize("kind", KINDS)
def test_empty_pieces_change_nothing(kind: str) -> None:
    pieces = Pieces(KINDS[kind]())
    assert pieces.add("") == [] and not pieces.begun
    first = pieces.add("the people")
    assert first == pieces.tokenizer.encode("the people") and pieces.add("") == []
    assert first + pieces.add(" have") == pieces.tokenizer.encode("the people have")
    assert pieces.tokenizer.encode_behind("", "the") == pieces.tokenizer.encode("the")


@pytest.mark.parametrize("kind", SPACE_FIRST)
@pytest.mark.parametrize("text", ["Yes", " Yes", "\nYes", "'s", "☃", ".", "  yes", "1"])
def test_the_inside_of_a_text_spells_itself(kind: str, text: str) -> None:
    tokenizer = KINDS[kind]()
    whole = tokenizer.spelled(tokenizer.encode("no" + text))
    if whole == b" no" + text.encode():
        assert tokenizer.spelled(inside(tokenizer, text)) == text.encode()
    else:  # white space and unknown characters are rewritten, but no space comes before letters
        assert not tokenizer.spelled(inside(tokenizer, text)).startswith(b" ") or text[0].isspace()


def test_characters_in_several_tokens_are_decoded_whole_or_replaced() -> None:
    for tokenizer in (llama_2(), gpt2(), Tokenizer.plain_bytes()):
        ids = tokenizer.encode("no\n🙂")
        assert tokenizer.decode(ids) == "no\n🙂" and tokenizer.decode(ids[:-1]).rstrip("\ufffd") == "no\n"
        assert tokenizer.decode_behind(ids[:-1], ids[-1:]) == "\ufffd"


def test_a_mark_that_stands_for_the_rest_of_a_word_elsewhere_is_text() -> None:
    tokenizer = llama_2()
    assert tokenizer.decode(tokenizer.encode("a ## b ##c")) == "a ## b ##c"
    assert tokenizer.n_bytes(tokenizer.encode("## b")) == len(" ## b")
    assert bert().token_text(bert().encode("heads")[-1]).isalpha()


# ---------------------------------------------------------------------- special tokens

CHAT = "<|im_start|>user\nthe people<|im_end|>\n<|im_start|>"


@pytest.mark.parametrize("tokenizer", [llama_2, mistral, gpt2], ids=lambda make: make.__name__)
def test_special_tokens_are_ids_where_that_is_asked_for(tokenizer) -> None:
    known = tokenizer()
    start, end = (known.specials.ids[name] for name in ("<|im_start|>", "<|im_end|>"))
    plain, parsed = known.encode(CHAT), known.encode(CHAT, special_tokens=True)
    assert start not in plain and end not in plain and known.decode(plain) == CHAT
    assert parsed[0] == parsed[-1] == start and parsed.count(end) == 1
    assert known.decode(parsed) == "user\nthe people\n"
    assert Pieces(known).add("the people", special_tokens=True) == known.encode("the people")


def test_special_tokens_are_those_of_the_library() -> None:
    """But for the space that Llama-2's normalizer puts behind every special token inside a text."""
    import tokenizers

    for known in (mistral(), gpt2(), bert(), Tokenizer.plain_bytes()):
        library = tokenizers.Tokenizer.from_str(known.to_json())
        for text in (CHAT, "[CLS] the people[SEP]", "<|endoftext|>the people", "the <s>people", "<s> the", "</s>"):
            assert known.encode(text, special_tokens=True) == library.encode(text, add_special_tokens=False).ids
    known = llama_2()
    library = tokenizers.Tokenizer.from_str(known.to_json())
    leading = "<s>the people of these"
    assert known.encode(leading, special_tokens=True) == library.encode(leading, add_special_tokens=False).ids
    assert known.encode("no<s>the", special_tokens=True) == [*known.encode("no"), 1, *inside(known, "the")]


def test_what_a_special_token_takes_along() -> None:
    import json

    fields = json.loads(gpt2().to_json())
    for token in fields["added_tokens"]:
        if token["content"] == "<|im_end|>":
            token["rstrip"] = True
    known = Tokenizer(json.dumps(fields))
    end = known.specials.ids["<|im_end|>"]
    assert known.encode("the<|im_end|> \n people", special_tokens=True) == [
        *known.encode("the"),
        end,
        *known.encode("people"),
    ]
    assert t5().encode("the people</s>", special_tokens=True) == [*t5().encode("the people"), 1]
