"""The call itself: prompts, blanks, texts, results, bad input."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import warnings

import numpy as np
import pytest
import tokenizers
import torch

import unmask
from unmask.decoding import Generation, generate
from unmask.decoding.generate import infill
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer


@pytest.fixture(scope="module")
def writer(make_model) -> Model:
    """A masked diffusion model over bytes."""
    tokenizer = Tokenizer.plain_bytes()
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)


def test_text(writer: Model) -> None:
    first, second = generate(writer, ["We the", ""], length=5)
    assert first.canvas[:6] == writer.encode("We the") and len(first.tokens) == len(second.tokens) == 5
    assert first.text == writer.decode(first.tokens)
    for alone in ("We the", writer.encode("We the")):  # one prompt needs no list
        (g,) = generate(writer, alone, length=5)
        assert (g.text, g.tokens, g.canvas) == (first.text, first.tokens, first.canvas)
    assert len(generate(writer, ["a"])[0].tokens) == 64


def test_a_continuation_keeps_the_space_before_it(make_model) -> None:
    """In vocabularies such as Llama's a text's first space is dropped, and a continuation decoded alone has one."""
    pieces = ["<unk>", "</s>", "▁we", "▁the", "▁people", "s"]
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
    inner.decoder = tokenizers.decoders.Metaspace()
    model = make_model(vocab_size=len(pieces), tokenizer=Tokenizer(inner.to_str()))
    assert model.decode([3, 4]) == "the people" and model.decode([2, 3, 4]) == "we the people"
    for g in generate(model, [[2]] * 20, length=3):
        whole = model.decode([2, *g.tokens])
        assert whole is not None and whole.startswith("we" + (g.text or "")[:1])
        if 1 not in g.tokens:
            assert "we" + (g.text or "") == whole


def test_text_behind_a_gap_has_one_space_before_it(make_model) -> None:
    """Llama's normaliser puts a space before whatever it is given."""
    vocab = {character: i for i, character in enumerate("▁aweth")}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    parts = [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    inner.normalizer = tokenizers.normalizers.Sequence(parts)
    model = make_model(vocab_size=len(vocab), tokenizer=Tokenizer(inner.to_str()))
    (g,) = infill(model, ["we ____ the"], gap=2)
    assert g.canvas[:3] + g.canvas[5:] == [vocab[character] for character in "▁we▁the"]


def test_text_ends_at_the_first_end_of_sequence(make_model) -> None:
    tokenizer = Tokenizer.plain_bytes()
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)
    found = generate(model, ["ab"] * 40, length=60, order="left-to-right")
    ended = [g for g in found if g.stopped == "eos"]
    assert ended and len(ended) < len(found)
    for g in ended:
        assert g.text == tokenizer.decode(g.tokens[: g.tokens.index(0)]) and len(g.tokens) == 60


def test_infill(writer: Model) -> None:
    g = infill(writer, ["The ____ of the __."], gap=4)[0]
    # The space before a blank belongs to the blank.
    assert g.canvas[:3] == writer.encode("The") and g.canvas[7:14] == writer.encode(" of the")
    assert g.canvas[-1:] == writer.encode(".") and g.positions == [3, 4, 5, 6, 14, 15, 16, 17]
    assert g.tokens == [g.canvas[i] for i in g.positions] and g.stopped == "filled"
    assert g.text == writer.decode(g.canvas)
    assert infill(writer, "The ____ of the __.", gap=4)[0] == g
    assert len(infill(writer, "__ x")[0].tokens) == 3
    assert len(infill(writer, "a __", gap=2, length=5)[0].tokens) == 7


def test_one_underscore_is_text(writer: Model) -> None:
    with pytest.raises(UserError, match="no blank"):
        infill(writer, "snake_case")
    assert generate(writer, "a ____ b", length=2)[0].canvas[:8] == writer.encode("a ____ b")


def test_json_round_trip(mdm: Model) -> None:
    g = generate(mdm, [[1, 2]], length=6, trace=True)[0]
    again = Generation.from_dict(json.loads(json.dumps(g.to_dict())))
    assert again == g and again.seed == (0, 0)
    with pytest.raises(UserError, match="schema_version"):
        Generation.from_dict({**g.to_dict(), "schema_version": 99})


def test_default_steps(mdm: Model) -> None:
    g = generate(mdm, [[1]], length=10, order="confidence", quota="even")[0]
    assert g.nfe == 10
    assert generate(mdm, [[1]], length=10, order="confidence", quota="even", block=1)[0].nfe == 10


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "prompts is empty"),
        (["text"], "no tokenizer.json"),
        ([[8]], "token id 8"),
        ([[-1]], "token id -1"),
        ([[1], {}], "prompt 1 is {}; give a text or a list of token ids"),
        ([1.5], "prompt 0 is 1.5"),
    ],
)
def test_bad_prompts(mdm: Model, prompts, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(mdm, prompts)


def test_arrays_and_tensors_of_ids_are_prompts(mdm: Model) -> None:
    want = [g.tokens for g in generate(mdm, [[1, 2], [3, 4]], length=6)]
    for prompts in (np.array([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 4]]), [torch.tensor([1, 2]), (3, 4)]):
        assert [g.tokens for g in generate(mdm, prompts, length=6)] == want
    assert [g.tokens for g in generate(mdm, torch.tensor([1, 2]), length=6)] == want[:1]


def test_default_length_is_what_the_context_leaves(make_model) -> None:
    model = make_model(block_size=20)
    assert [len(g.tokens) for g in generate(model, [[1] * 5, [2]])] == [15, 19]
    with pytest.raises(UserError, match="exceeds the context of 20"):
        generate(model, [[1] * 20])


def test_a_gap_with_a_space_before_it_begins_with_one(writer: Model) -> None:
    """The text keeps its word boundary, at any temperature and by any order; a gap without a space is free."""
    (space,) = writer.encode(" ")
    for order in ("ancestral", "confidence", "left-to-right"):
        found = infill(writer, ["The ____ of ____"] * 20, gap=2, order=order)
        assert all(g.canvas[3] == g.canvas[8] == space for g in found), order
        assert len({g.canvas[4] for g in found}) > 1
        assert all(0 < p <= 1 for g in found for p in g.probabilities)
    free = infill(writer, ["The____"] * 20, gap=2)
    assert any(g.canvas[3] != space for g in free)


def test_infill_is_public_and_its_old_name_forwards(writer: Model) -> None:
    assert "infill" in unmask.__all__ and unmask.infill is infill
    (g,) = unmask.infill(writer, ["The ____ of __."], gap=2, seed=3, order="confidence")
    assert (g.text or "").startswith("The") and (g.text or "").endswith(".") and len(g.tokens) == 4
    assert (g.text, g.seed) == (writer.decode(g.canvas), (3, 0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert unmask.decoding.infill(writer, ["The ____ of __."], gap=2, seed=3, order="confidence") == [g]
        assert unmask.decoding.infill(writer, ["a __"], 4)[0].nfe <= 4  # steps stood third
    assert [warning.category for warning in caught] == [DeprecationWarning] * 2
    assert "unmask.decoding.infill is now unmask.infill" in str(caught[0].message)
    assert "\n" not in str(caught[0].message)


def test_gaps_of_a_length_each(writer: Model) -> None:
    found = unmask.infill(writer, ["a __", "a __"], gap=[2, 5])
    assert [len(g.tokens) for g in found] == [2, 5]
    mixed = generate(writer, ["a __ b", "a __ b"], fill=[3, None], length=[0, 4], order="confidence")
    assert [len(g.tokens) for g in mixed] == [3, 4] and mixed[1].canvas[:6] == writer.encode("a __ b")
    (alone,) = generate(writer, ["a __ b"], fill=3, order="confidence")
    assert mixed[0].tokens == alone.tokens and mixed[0].steps == alone.steps  # the quota of each is its own
    with pytest.raises(UserError, match="fill has 1 entries for 2 prompts"):
        unmask.infill(writer, ["a __", "a __"], gap=[2])


def test_forced_tokens_are_no_masks_to_take_steps_for(mdm: Model) -> None:
    """By default a step for each mask, as if the forced tokens had been given in the prompt."""
    forced = {0: 1, 1: 2, 4: 3}
    (g,) = generate(mdm, [[5]], length=8, order="left-to-right", quota="paper", forced=forced)
    assert max(g.steps) == 4 and g.steps.count(-1) == 3
    (ancestral,) = generate(mdm, [[5]], length=8, forced=forced)
    mask = mdm.config.vocab_size
    (given,) = generate(mdm, [[5, 1, 2, mask, mask, 3, mask, mask, mask]], length=0)
    assert max(ancestral.steps) <= 4 and max(given.steps) <= 4
    tuned = dataclasses.replace(mdm, defaults={"steps_per_token": 0.4, "order": "confidence", "quota": "even"})
    assert generate(tuned, [[5]], length=8, forced=forced)[0].nfe == 2
    seven = dict.fromkeys(range(7), 1)
    assert generate(mdm, [[5]], length=8, block=4, order="confidence", quota="even", forced=seven)[0].nfe == 1


def test_a_negative_prompt_needs_guidance(mdm: Model, arm: Model) -> None:
    for options in ({}, {"guidance": 0.0}):
        with pytest.raises(UserError, match="negative is given without guidance.*give guidance, such as 1.0"):
            generate(mdm, [[1, 2]], length=4, negative=[3], **options)
    with pytest.raises(UserError, match="prompt 1 has a negative prompt without guidance"):
        generate(mdm, [[1], [1]], length=4, negative=[[3], [4]], guidance=[1.0, 0.0])
    generate(mdm, [[1], [1]], length=4, negative=[[3], None], guidance=[1.0, 0.0])
    with pytest.raises(UserError, match="negative needs a masked diffusion model"):
        generate(arm, [[1]], length=4, negative=[3])


def test_what_is_printed_is_read_again(mdm: Model) -> None:
    (g,) = generate(mdm, [[1, 2]], length=6)
    row = {"ids": [1, 2], "settings": {"length": 6}, **g.to_dict()}
    assert row["tokens_per_pass"] == g.tokens_per_pass and Generation.from_dict(row) == g
    assert Generation.from_dict({**row, "index": 0, "settings_hash": "x", "note": "mine"}) == g
    with pytest.raises(UserError, match="generation.note is unknown"):
        Generation.from_dict({**row, "note": "mine"})


def test_every_option_of_the_signature_is_asked_for(mdm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def prepare(model: Model, prompts: object, options: dict[str, object], **rest: object) -> None:
        asked.append({**options, **{name: value for name, value in rest.items() if value is not None}})
        raise InterruptedError

    monkeypatch.setattr(sys.modules["unmask.decoding.generate"], "prepare", prepare)
    names = [*inspect.signature(generate).parameters]
    assert names[:2] == ["model", "prompts"] and names[-2:] == ["trace", "watch"]
    for name in names[2:-1]:
        marker = object()
        with pytest.raises(InterruptedError):
            generate(mdm, [[1]], **{name: marker})
        assert asked.pop()[name] is marker
