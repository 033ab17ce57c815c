"""Where a text begins: behind a clean end of sequence, for both kinds of model and for `score` alike, or nowhere."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import unmask
from decoding.oracle import Chain, oracle
from decoding.theory import chi_square
from tokenizer_kinds import llama_2
from unmask.decoding import generate
from unmask.decoding.generate import infill
from unmask.decoding.prompts import as_list, read_prompt
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer

EOS = 0


@pytest.fixture(scope="module")
def mdm(make_model) -> Model:
    return make_model(eos_id=EOS)


@pytest.fixture(scope="module")
def writer(make_model) -> Model:
    """Knows its end of sequence from its tokenizer alone."""
    tokenizer = Tokenizer.plain_bytes()
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer)


def test_an_empty_prompt_begins_behind_an_end_of_sequence(mdm: Model, arm: Model, writer: Model) -> None:
    for model, prompt in ((mdm, []), (arm, []), (writer, ""), (writer, [])):
        (g,) = generate(model, [prompt], length=6, eos="fill")
        assert (g.canvas[0], len(g.canvas), g.positions, len(g.tokens)) == (EOS, 7, [1, 2, 3, 4, 5, 6], 6)
        assert g.tokens == g.canvas[1:] and g.stopped in ("length", "eos")
        if model.kind == "mdm":
            (same,) = generate(model, [[EOS]], length=6)
            assert (g.tokens, g.probabilities) == (same.tokens, same.probabilities)


def test_none_is_a_bare_canvas(mdm: Model, arm: Model, make_model) -> None:
    bare = make_model()  # the same weights, without an end of sequence
    plain = generate(mdm, None, length=8, order="confidence")
    assert plain == generate(mdm, [None], length=8, order="confidence") and plain[0].positions == list(range(8))
    with pytest.warns(UserWarning, match="no end-of-sequence token to begin behind: an empty prompt is a bare canvas"):
        same = generate(bare, [[], [1]], length=8, order="confidence")
    assert same[0].canvas == plain[0].canvas
    assert same[0].probabilities == pytest.approx(plain[0].probabilities, rel=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert generate(bare, None, length=8, order="confidence")[0].canvas == plain[0].canvas
    with pytest.raises(UserError, match="prompt 1 is None, a bare canvas, which an autoregressive model does not have"):
        generate(arm, [[1], None], length=3)


def test_a_text_that_begins_with_a_gap_begins_like_an_empty_prompt(writer: Model) -> None:
    (g, h) = infill(writer, ["____ is", "is ____"], gap=3)
    assert g.canvas[0] == EOS and g.positions == [1, 2, 3] and h.positions == [2, 3, 4]
    assert g.text == writer.decode(g.canvas[1:]) and (g.text or "").endswith(" is")
    (spaced,) = infill(writer, [" ____ is"], gap=3)
    assert spaced.canvas[0] == EOS and spaced.positions == [1, 2, 3] and (spaced.text or "").startswith(" ")
    mask = writer.config.vocab_size
    (exact,) = generate(writer, [[mask, mask, 5]], length=0)  # ids are taken as they are
    assert exact.positions == [0, 1]


def test_what_sampling_says_of_a_text_is_what_score_says(mdm: Model, arm: Model, writer: Model) -> None:
    """log p of each token as it was written, summed along the order, is the chain rule from an empty context."""
    one_by_one = {"order": "left-to-right", "quota": "even", "steps": 9}
    for model in (mdm, arm, writer):
        rules = one_by_one if model.kind == "mdm" else {}
        found = generate(model, [[]] * 3, length=9, eos="fill", **rules)
        scores = unmask.score(model, [([], g.tokens) for g in found], method="chain-rule")
        for g, score in zip(found, scores, strict=True):
            assert np.log(g.probabilities).sum() == pytest.approx(score.logprob, rel=1e-5)


@pytest.mark.parametrize("order", ["first-hitting", "random", "confidence", "dilated"])
def test_the_same_in_any_order(order: str) -> None:
    """On an exact posterior the probabilities along any order of one token a pass are those of the text behind the end
    of sequence, as the chain rule from left to right has them."""
    chain = Chain.of_offsets(5, [0.5, 0.3, 0.15], 0.02)
    model = oracle(chain, context=24, eos_id=EOS)
    fixed = {} if order == "first-hitting" else {"quota": "even", "steps": 8}
    for g in generate(model, [[]] * 12, length=8, order=order, **fixed):
        behind = chain.log_probability(g.canvas) - chain.log_probability([EOS])
        assert np.log(g.probabilities).sum() == pytest.approx(behind, abs=1e-5)
        (bare,) = generate(model, [None], length=8, order=order, seed=[g.seed], **fixed)
        assert np.log(bare.probabilities).sum() == pytest.approx(chain.log_probability(bare.tokens), abs=1e-5)


def test_the_first_token_has_the_law_of_what_follows_an_end_of_sequence() -> None:
    chain = Chain.of_offsets(5, [0.5, 0.3, 0.15], 0.02)
    found = generate(oracle(chain, context=8, eos_id=EOS), [[]] * 4000, length=3, order="random", trace=False)
    law = {(token,): float(p) for token, p in enumerate(chain.transition_VV[EOS])}
    statistic, critical = chi_square([g.tokens[:1] for g in found], law)
    assert statistic < critical


def test_guidance_hides_what_the_caller_gave_alone(mdm: Model) -> None:
    """An end of sequence that was put before a text stays in view, as in `score`: guidance has no effect there."""
    with pytest.warns(UserWarning, match="guidance has no effect without a prompt"):
        (g,) = generate(mdm, [[]], length=6, guidance=2.0)
    assert g == generate(mdm, [[]], length=6)[0]
    (given,) = generate(mdm, [[EOS]], length=6, guidance=2.0)
    assert given.nfe == 2 * g.nfe


def test_an_empty_negative_prompt_begins_there_too(mdm: Model) -> None:
    rules = {"length": 6, "guidance": 1.0, "order": "confidence", "temperature": 0}
    empty, named = (generate(mdm, [[1, 2]], negative=[text], **rules)[0] for text in ([], [EOS]))
    assert (empty.tokens, empty.probabilities) == (named.tokens, named.probabilities)


def test_the_end_of_sequence_takes_a_place(mdm: Model) -> None:
    assert len(generate(mdm, [[]], length=95)[0].tokens) == 95
    with pytest.raises(UserError, match="prompt 0 is empty and stands behind an end-of-sequence token, with length 96"):
        generate(mdm, [[]], length=96)
    assert len(generate(mdm, None, length=96)[0].tokens) == 96


def test_what_counts_as_one_prompt(mdm: Model) -> None:
    assert as_list(None) == [None] and as_list([None, "a"]) == [None, "a"] and as_list([1, 2]) == [[1, 2]]
    assert read_prompt(mdm, [1]).added == 0 and read_prompt(mdm, []).added == 1
    with pytest.raises(UserError, match="prompts is 5; give a text"):
        generate(mdm, 5)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- begin tokens


@pytest.mark.parametrize("causal", [False, True])
def test_a_begin_token_begins_what_is_sampled_and_what_is_scored(make_model, causal: bool) -> None:
    tokenizer = llama_2()
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, causal=causal, bos=1, eos_id=2)
    rules = {} if causal else {"order": "left-to-right", "quota": "even", "steps": 5}
    for prompt, begins in (("", 1), ("the people", 1 + len(tokenizer.encode("the people")))):
        (g,) = generate(model, prompt, length=5, eos="fill", **rules)
        assert g.canvas[:1] == [1] and 1 not in g.canvas[1:begins] and g.positions == list(range(begins, begins + 5))
        (score,) = unmask.score(model, [(prompt, g.tokens)], method="chain-rule")
        assert np.log(g.probabilities).sum() == pytest.approx(score.logprob, rel=1e-4)
    with pytest.raises(UserError, match="prompt 0 is empty and stands behind a begin token, with length 96"):
        generate(model, "", length=96)
    if not causal:
        assert generate(model, None, length=96)[0].positions[0] == 0
        with pytest.warns(UserWarning, match="guidance has no effect without a prompt"):
            (g,) = generate(model, "", length=4, guidance=2.0)
        assert g == generate(model, "", length=4)[0]


@pytest.mark.parametrize("fields", [{"bos": 1, "eos_id": 2}, {"eos_id": 2}, {}])
def test_a_text_that_begins_with_a_gap_begins_once(make_model, fields: dict[str, int]) -> None:
    """Behind the begin token, or the end of sequence of the model or its tokenizer, which is no part of the text."""
    tokenizer = llama_2()
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, **fields)
    assert model.eos_id == model.eos_ids[0] == 2 and model.start_id == fields.get("bos", 2)
    row = read_prompt(model, "____ the people", gap=2)
    assert row.ids[:3] == [model.start_id, model.mask_id, model.mask_id] and row.added == 1
    forced = dict(enumerate(tokenizer.encode("have")))
    (g,) = infill(model, "____ the people", gap=len(forced), forced=forced)
    assert g.text == "have the people" and g.canvas.count(model.start_id) == 1
    spelled = read_prompt(model, "<s>____ the people", gap=2, special_tokens=True)
    assert spelled.ids[:2] == [1, model.mask_id] and spelled.added == 0


def test_an_end_that_stands_for_text_begins_a_text_without_being_part_of_it(make_model) -> None:
    tokenizer = llama_2()
    (dot,) = tokenizer.encode_behind("a", ".")
    model = make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, eos_ids=(dot, 2))
    ids = tokenizer.encode("the people")
    (g,) = generate(model, "", length=len(ids), forced=dict(enumerate(ids)))
    assert (g.canvas[0], g.text) == (dot, "the people")
    (g,) = infill(model, "____ have", gap=len(ids), forced=dict(enumerate(ids)))
    assert (g.canvas[0], g.text) == (dot, "the people have")
    (g,) = generate(model, "", length=12, pattern="the( people)?", seed=1)
    assert (g.text or "").rstrip(".") in ("the", "the people")
