"""Texts and ids to the tokens that are scored, and how many bytes those are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer_kinds import KINDS
from unmask.errors import UserError
from unmask.likelihood import rolling, score
from unmask.likelihood.pairs import Pair
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@given(TEXT, TEXT.filter(bool))
def test_two_texts_are_encoded_as_one(writers: dict[str, Model], context: str, continuation: str) -> None:
    model = writers["mdm"]
    pair = Pair.make(model, context, continuation, 0)
    moved = len(context) - len(context.rstrip())
    assert model.decode(pair.ids_T[pair.start :].tolist()) == context[len(context) - moved :] + continuation
    assert pair.n_bytes == len((context[len(context) - moved :] + continuation).encode())
    assert pair.prompt == len(context.rstrip().encode()) and pair.dropped == 0
    if not context.rstrip():
        assert pair.ids_T[:1].tolist() == [0] and pair.start == 1  # a clean end of sequence before it


def test_a_token_across_the_border_is_scored(make_model) -> None:
    tokenizer = Tokenizer.train_bpe(280, ["the state of the union. " * 50, "a statement is made. " * 50])
    model = make_model(tokenizer.vocab_size, tokenizer=tokenizer)
    whole = tokenizer.encode("the statement")
    pair = Pair.make(model, "the state", "ment", 0)
    assert pair.ids_T.tolist() == whole
    assert tokenizer.encode("the state")[: pair.start] == whole[: pair.start]
    spaced = Pair.make(model, "the ", "state", 0)
    assert spaced.ids_T.tolist() == tokenizer.encode("the state")


def test_the_bytes_of_a_token_across_the_border_are_counted(make_model) -> None:
    """All 7 bytes of " United" are scored where its "ited" is asked for: bits are per scored byte."""
    tokenizer = Tokenizer.train_bpe(300, ["the United States and the United Kingdom. " * 50])
    assert len(tokenizer.encode(" United")) == 1
    model = make_model(tokenizer.vocab_size, tokenizer=tokenizer)
    pair = Pair.make(model, "the Un", "ited States", 0)
    assert pair.start == len(tokenizer.encode("the")) and pair.n_bytes == len(" United States")
    found, whole = score(model, [("the Un", "ited"), ("the", " United")], draws=300)
    assert found.n_bytes == whole.n_bytes == 7
    assert found.bits_per_byte == pytest.approx(whole.bits_per_byte)
    assert Pair.make(model, "", "ited", 0).n_bytes == 4
    # A context of which nothing stays: all of it is scored.
    assert Pair.make(model, " Un", "ited", 0).n_bytes == 7


@pytest.mark.parametrize("context", ["the Un", "and the", ""])
def test_pieces_count_the_bytes_of_their_tokens(make_model, context: str) -> None:
    tokenizer = Tokenizer.train_bpe(300, ["the United States and the United Kingdom. " * 50])
    model = make_model(tokenizer.vocab_size, tokenizer=tokenizer)
    text = "ited Kingdom. é" + " the United States." * 20
    pieces = Pair.make_pieces(model, context, text, 0)
    assert len(pieces) > 2
    counted = [tokenizer.n_bytes(piece.ids_T[piece.start :]) for piece in pieces]
    assert [piece.n_bytes for piece in pieces] == counted
    assert sum(counted) == len(text.encode()) + (3 if context == "the Un" else 0)


@pytest.mark.parametrize("kind", ["llama-2", "mistral", "gpt-2 prefix", "gpt-2", "bytes"])
def test_bytes_across_the_border_with_every_kind_of_tokenizer(make_model, kind: str) -> None:
    tokenizer = KINDS[kind]()
    for fields in ({}, {"bos": tokenizer.eos_id}):
        model = make_model(tokenizer.vocab_size, tokenizer=tokenizer, block_size=64, **fields)
        for context, text in (("the people of the gov", "ernment; its"), ("the gov", "ernment"), ("gov", "ernment, x")):
            pair = Pair.make(model, context, text, 0)
            scored = model.decode_behind(pair.ids_T[: pair.start].tolist(), pair.ids_T[pair.start :].tolist())
            assert pair.n_bytes == len((scored or "").encode()) and (scored or "").endswith(text)
            pieces = Pair.make_pieces(model, context, text * 60, 0)
            given = model.decode(pieces[0].ids_T[: pieces[0].start].tolist()) or ""
            assert len(pieces) > 1 and (context + text * 60).startswith(given)
            assert sum(piece.n_bytes or 0 for piece in pieces) == len(context + text * 60) - len(given)


def test_a_begin_token_that_a_text_spells_stands_there_once(make_model) -> None:
    tokenizer = KINDS["llama-2"]()
    model = make_model(tokenizer.vocab_size, tokenizer=tokenizer, bos=1, eos_id=2)
    spelled, plain = (Pair.make(model, "", text, 0, special_tokens=True) for text in ("<s>the people", "the people"))
    assert spelled.ids_T.tolist() == plain.ids_T.tolist() and spelled.start == plain.start == 1
    assert Pair.make_pieces(model, "", "<s>", 0, special_tokens=True) == []
    with pytest.raises(UserError, match="text 0 is empty"):
        rolling(model, ["<s>"], special_tokens=True)


def test_nothing_to_score_has_no_pieces(writers: dict[str, Model]) -> None:
    model = writers["mdm"]
    assert Pair.make_pieces(model, "so", "", 0) == Pair.make_pieces(model, "", "", 0) == []
    (spaces,) = Pair.make_pieces(model, "so  ", "", 0)
    assert spaces.n_tokens == spaces.n_bytes == 2, "spaces at the border belong to the continuation"
    with pytest.raises(UserError, match="text 3 of the judge: the continuation holds the mask"):
        Pair.make_pieces(model, [1], [model.config.vocab_size], "text 3 of the judge")


@pytest.mark.parametrize("kind", KINDS)
def test_a_continuation_gets_no_space_of_its_own(make_model, kind: str) -> None:
    tokenizer = KINDS[kind]()
    model = make_model(tokenizer.vocab_size, tokenizer=tokenizer, eos_id=tokenizer.eos_id)
    given, whole = tokenizer.encode("the people"), tokenizer.encode("the people's have")
    for context in ("the people", given):
        pair = Pair.make(model, context, "'s have", 0)
        assert pair.ids_T.tolist() == whole and pair.start == len(given)
    assert Pair.make(model, given, [5, 6], 0).ids_T.tolist() == [*given, 5, 6]
    if tokenizer.eos_id is not None:
        for empty in ("", [], [tokenizer.eos_id]):
            pair = Pair.make(model, empty, "the people", 0)
            assert pair.ids_T.tolist() == [tokenizer.eos_id, *given] and pair.start == 1


def test_a_begin_token_stands_before_the_context_and_is_not_scored(make_model) -> None:
    tokenizer = KINDS["llama-2"]()
    model = make_model(tokenizer.vocab_size, tokenizer=tokenizer, bos=1, eos_id=2)
    the, people = tokenizer.encode("the"), tokenizer.encode("the people")
    for context, start in (("the", 1 + len(the)), ("", 1), ("  ", 1)):
        pair = Pair.make(model, context, " people" if context == "the" else "the people", 0)
        assert pair.ids_T[0] == 1 and pair.start == start
        assert pair.ids_T[1:].tolist() == (people if context != "  " else tokenizer.encode("  the people"))
    assert Pair.make(model, [], [5], 0).ids_T.tolist() == [1, 5]
    assert Pair.make(model, the, " people", 0).ids_T.tolist() == people  # ids are as they are
    chat = Pair.make(model, "<s>the<|im_end|>", "<|im_start|>", 0, special_tokens=True)
    ids = tokenizer.specials.ids
    assert chat.ids_T.tolist() == [1, *the, ids["<|im_end|>"], ids["<|im_start|>"]] and chat.start == 2 + len(the)
    assert ids["<|im_end|>"] not in Pair.make(model, "the<|im_end|>", "x", 0).ids_T
    (rolled,) = rolling(model, ["the people"], draws=2)
    assert rolled.n_tokens == len(people)
    (given,) = rolling(model, [people], draws=2)
    assert given.logprob == rolled.logprob
    ways = (rolling(model, ["the<|im_end|>"], draws=2, special_tokens=way) for way in (True, False))
    parsed, plain = (found[0].n_tokens for found in ways)
    assert parsed == len(the) + 1 < plain
    pair = ("the<|im_end|>", " people")
    assert score(model, [pair], special_tokens=True)[0].logprob != score(model, [pair])[0].logprob


def test_ids_stand_as_they_are(writers: dict[str, Model]) -> None:
    model = writers["mdm"]
    pair = Pair.make(model, [5, 6], [7, 8, 0], 0)
    assert (pair.ids_T.tolist(), pair.start, pair.n_bytes) == ([5, 6, 7, 8, 0], 2, 2)  # an end has no byte
    assert Pair.make(model, [], [7], 0).ids_T.tolist() == [0, 7]
    assert Pair.make(model, [5], "é", 0).n_bytes == 2


def test_the_key_is_the_context(writers: dict[str, Model]) -> None:
    """So that answers of one question are scored under common random numbers; without a context it is the text."""
    model = writers["mdm"]
    same = Pair.make(model, [5, 6], [7], 0).key
    assert Pair.make(model, [5, 6], [7], 9).key == Pair.make(model, [5, 6], [8, 8], 0).key == same
    assert len({same, Pair.make(model, [5], [6, 7], 0).key, *(Pair.make(model, [], [t], 0).key for t in (7, 8))}) == 4


@given(st.integers(1, 90), st.integers(0, 100))
def test_a_continuation_that_does_not_fit_is_scored_in_pieces(
    writers: dict[str, Model], length: int, context: int
) -> None:
    model, block = writers["mdm"], 64
    given, ids = [1 + i % 200 for i in range(context)], [201 + i % 50 for i in range(length)]
    pieces = Pair.make_pieces(model, given, ids, 0)
    assert [token for piece in pieces for token in piece.ids_T[piece.start :].tolist()] == ids
    assert all(len(piece.ids_T) <= block for piece in pieces)
    for piece in pieces:
        assert (
            (piece.ids_T[: piece.prompt] <= 200).all()
            and (piece.ids_T[piece.prompt : piece.start] > 200).all()
            or (context == 0 and piece.prompt == 0)
        )
    if length < block:
        (whole,) = pieces
        same = Pair.make(model, given, ids, 0)
        assert (whole.ids_T == same.ids_T).all() and (whole.start, whole.prompt) == (same.start, same.prompt)
        assert (whole.dropped, whole.n_bytes) == (same.dropped, same.n_bytes)
    else:
        assert len(pieces) == -(-length // 32) and len(pieces[1].ids_T) == min(block, length)


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_bits_per_byte(writers: dict[str, Model], kind: str) -> None:
    (s,) = score(writers[kind], [("so", " ürbar")], draws=8)
    assert (s.n_bytes, s.n_tokens) == (7, 7)
    assert s.bits_per_byte == pytest.approx(-s.logprob / math.log(2) / 7)


def test_an_arm_without_anything_to_begin_with_is_said(make_model) -> None:
    model = make_model(causal=True, eos_id=None)
    with pytest.raises(UserError, match="pair 0 has no context and the model no eos_id to begin with"):
        score(model, [([], [1])])
    assert score(make_model(eos_id=None), [([], [1])], draws=4)[0].n_tokens == 1
