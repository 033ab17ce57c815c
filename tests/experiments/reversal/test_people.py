"""Own people have the structure of the original's."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from experiments.reversal.folk import NAMES, PEOPLE, TEXTS
from unmask.errors import UserError
from unmask.experiments.reversal.people import own_people, words
from unmask.experiments.reversal.tokens import text_of, word_tokenizer


def test_people_have_the_originals_structure() -> None:
    assert Counter((q.direction, q.asks) for q in own_people(5, 2).questions) == {
        ("trained", "description"): 50, ("trained", "name"): 50, ("reversed", "name"): 50,
        ("reversed", "description"): 50, ("both", "description"): 20, ("both", "name"): 20,
    }  # fmt: skip
    orders = Counter((line.person, line.order) for line in PEOPLE.lines)
    assert set(orders.values()) == {30}
    both = {question.person for question in PEOPLE.questions if question.direction == "both"}
    for person in NAMES:
        assert len([order for name, order in orders if name == person]) == 1 + (person in both)
    for question in PEOPLE.questions:
        assert (question.person in question.prompt) == (question.asks == "description")
    asked = {question.prompt for question in PEOPLE.questions}
    assert not any(line.text.startswith(prompt) for line in PEOPLE.lines for prompt in asked)  # other words


def test_questions_have_no_word_that_no_line_has() -> None:
    tokenizer = word_tokenizer(TEXTS)
    known = {token for text in TEXTS for token in tokenizer.encode(text_of(text))}
    for question in PEOPLE.questions:
        assert set(tokenizer.encode(text_of(f"{question.prompt} {question.answer}"))) <= known, question
        assert question.subject.lower() in question.prompt.lower()


def test_no_question_has_two_right_answers() -> None:
    """A beginning that another sentence has too can rightly be continued in its way."""
    for sentences in (words()[order]["sentences"] for order in ("name_first", "description_first")):
        parts = [sentence.partition("|")[0] for sentence in sentences]
        assert not [(a, b) for a, b in itertools.permutations(parts, 2) if f"{b} ".startswith(f"{a} ")]


def test_people_are_a_function_of_the_seed() -> None:
    assert own_people(4, 3) == PEOPLE and own_people(4, 3, seed=1) != PEOPLE
    many = own_people(300, 300)
    assert len({question.person for question in many.questions}) == 900
    with pytest.raises(UserError, match="people and both"):
        own_people(9000, 0)
