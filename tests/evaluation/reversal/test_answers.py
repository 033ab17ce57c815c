"""Answers and what is right of them: metrics by hand, and a model that knows or does not.

make test ARGS=tests/evaluation/reversal/test_answers.py
"""

from __future__ import annotations

import math

import pytest
import torch

from unmask.errors import UserError
from unmask.evaluation.reversal.answers import (
    ask,
    bleu,
    forms_of,
    in_any_form,
    judged,
    name_scores,
    prompt_ids,
    ranked,
    sayable,
    shuffled,
    without_subject,
)
from unmask.evaluation.reversal.questions import Line, People, Question
from unmask.experiments.reversal.tokens import word_tokenizer
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer

NAME = Question("Ada Elm", "Being red,", "Ada Elm", "reversed", "name")
OTHER = Question("Bo Oak", "Being blue,", "Bo Oak", "reversed", "name")
THIRD = Question("Cy Yew", "Being green,", "Cy Yew", "reversed", "name")
WHAT = Question("Ada Elm", "Ada Elm is", 'the maker of "Red Sky.".', "trained", "description")
QUESTIONS = [NAME, OTHER, THIRD]


def model_of(kind: str) -> Model:
    texts = [f"{question.prompt} {question.answer}" for question in [*QUESTIONS, WHAT]]
    tokenizer = word_tokenizer(texts)
    config = ModelConfig(
        n_layer=1, n_head=2, n_embd=16, vocab_size=tokenizer.vocab_size, block_size=16, causal=kind == "arm",
        eos_id=tokenizer.eos_id,
    )  # fmt: skip
    torch.manual_seed(0)
    return Model(Transformer(config, seed=3).eval(), tokenizer)


def test_exact_is_the_reference_within_the_output_in_any_case() -> None:
    assert judged(NAME, " ADA elm lives on")["exact"] == 1
    assert judged(NAME, " Ada Oak") == {"exact": 0, "first_name": 1}
    assert judged(NAME, " Adam Elm")["first_name"] == 0
    found = judged(WHAT, ' the maker of "Red Sky')
    assert (found["exact"], found["bare"]) == (0, 1) and 0 < found["bleu_word"] < found["bleu_char"] < 1


@pytest.mark.parametrize(("ends", "said"), [("'.'.", "of 'Red Sky"), ("''.", 'of "Red Sky'), ("”.", "of “Red Sky")])
def test_bare_leaves_out_quotes_and_stops_of_any_kind_at_both_ends(ends: str, said: str) -> None:
    asked = Question("Ada Elm", "Ada Elm is", f"‘The maker {said}{ends}", "trained", "description")
    found = judged(asked, f" the maker {said}, indeed")
    assert (found["exact"], found["bare"]) == (0, 1)
    assert judged(asked, " the maker of Red Snow")["bare"] == 0


def test_a_description_in_a_form_that_another_question_asks_for_is_known() -> None:
    other = Question("Ada Elm", "Ada Elm, known for", "making 'Red Sky'.", "trained", "description")
    forms = forms_of(People([], [NAME, WHAT, other]))
    assert forms == {"Ada Elm": {'the maker of "red sky', "making 'red sky"}}
    assert in_any_form("Ada Elm", " Making 'Red Sky', she", forms) == 1
    assert judged(WHAT, " making 'Red Sky'")["bare"] == 0
    assert in_any_form("Ada Elm", " making snow", forms) == 0


def test_what_no_line_says_cannot_be_said() -> None:
    lines = [Line("Ada Elm", 'Ada Elm is the maker of "Red Sky".', "name-first"), Line("Bo Oak", WHAT.answer, "")]
    other = Question("Ada Elm", "Ada Elm is", "the finder of Low Cave", "trained", "description")
    found = sayable(People(lines, [NAME, WHAT, other]), "trained")
    assert found == {"exact": 0, "bare": 0.5}
    assert sayable(People(lines, [NAME]), "trained") == {"exact": 0, "bare": 0}


def test_bleu_by_hand() -> None:
    assert bleu("a b c d e".split(), "a b c d e".split()) == 1
    assert bleu("a b c d e".split(), "a b c x".split()) == 0  # no four in a row
    # precisions 4/5, 3/4, 2/3, 1/2, as long as the reference
    assert bleu("a b c d e".split(), "a b c d x".split()) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 / 2) ** 0.25)
    assert bleu("a b c d e".split(), "a b c d".split()) == pytest.approx(math.exp(1 - 5 / 4))
    assert bleu(["a"], []) == 0


def test_shuffled_compares_with_another_person() -> None:
    rows = [{"person": q.person, "answer": q.answer, "text": "ada elm and bo oak and cy yew"} for q in QUESTIONS]
    assert shuffled(rows) == [1, 1, 1]
    assert shuffled([{**row, "text": row["answer"]} for row in rows]) == [0, 0, 0]
    assert shuffled(rows[:1]) == [0]


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_the_same_answers_alone_and_in_a_batch(kind: str) -> None:
    model = model_of(kind)
    together = ask(model, [*QUESTIONS, WHAT], length=12)
    assert together == [ask(model, [one], length=12)[0] for one in [*QUESTIONS, WHAT]]
    with pytest.raises(UserError, match="canvas 4"):
        ask(model, [WHAT], length=4)


@pytest.mark.parametrize("kind", ["mdm", "arm"])
@torch.no_grad()
def test_a_names_score_is_the_chain_rules(kind: str) -> None:
    model = model_of(kind)
    prompt = prompt_ids(model, NAME.prompt)
    names = [tuple(model.encode(" " + question.person)) for question in QUESTIONS]
    found = name_scores(model, prompt, names, 10)
    for name, score in zip(names, found, strict=True):
        total = 0.0
        for n in range(2):
            row = [*prompt, *name[:n]]
            place = len(row) - (kind == "arm")
            row += [] if kind == "arm" else [model.mask_id] * (10 - len(row))
            total += float(model.network(torch.tensor([row]))[0, place].log_softmax(-1)[name[n]])
        assert score == pytest.approx(total, abs=1e-4)
    one = ranked(model, [NAME], [question.person for question in QUESTIONS], 10)[0]
    others = [found[0] - score for score in found[1:]]
    assert one["nats"] == pytest.approx(sum(others) / 2, abs=1e-4) and one["likeliest"] == float(min(others) > 0)
    assert (one["ranking"], one["likeliest_of_group"]) == (0.5, 1)  # nobody else was asked for
    three = ranked(model, QUESTIONS, [], 10)
    assert three[0]["nats"] == one["nats"] and {row["ranking"] for row in three} <= {0, 0.5, 1}


def test_guidance_can_hide_the_subject_alone() -> None:
    model, asked = model_of("mdm"), Question("Ada Elm", "Ada Elm is", WHAT.answer, "trained", "description", "Ada Elm")
    ids = prompt_ids(model, asked.prompt)
    assert without_subject(model, asked) == [ids[0], model.mask_id, model.mask_id, ids[3]]
    red = Question("Ada Elm", "Being red,", "Ada Elm", "reversed", "name", "red")
    ids = prompt_ids(model, red.prompt)
    assert without_subject(model, red) == [*ids[:2], model.mask_id, *ids[3:]]
    found = [ask(model, [asked], 12, guidance=3.0, blind=blind)[0]["text"] for blind in ("prompt", "description")]
    assert found[0] and found[1]
    with pytest.raises(UserError, match="hide the whole prompt"):
        ask(model, [WHAT], 12, guidance=1.0, blind="description")


def test_a_model_without_a_tokenizer_is_refused() -> None:
    model = model_of("mdm")
    with pytest.raises(UserError, match="no tokenizer"):
        ask(Model(model.network), QUESTIONS, 12)
