"""Questions with distractors: equal lengths, sides that lie apart, rows that read as the items do."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import prose
from unmask.errors import UserError
from unmask.experiments.guidance.items import (
    Counts,
    Item,
    Pool,
    Sizes,
    Stretch,
    continuations,
    drawn,
    evenly,
    headwords,
    others,
    side_of,
    wrong_answers,
)
from unmask.experiments.speed.made import made_glosses
from unmask.model.tokenizers import Tokenizer

SIZES = Sizes(prompt=12, answer=8, choices=3)
WIDE = Sizes(choices=4, gloss=120)
COUNTS = Counts(rows=100, tune=20, test=30, share=0.5)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train_bpe(400, [*prose.documents(50), *(gloss for _, gloss in made_glosses()[:50])])


def documents() -> Iterator[tuple[str, tuple[str, ...], str]]:
    for number, text in enumerate(prose.documents(50)):
        yield f"text {number}", (f"key {number}",), text


def check(items: list[Item], choices: int) -> None:
    for item in items:
        assert len({len(answer) for answer in item.answers}) == 1, "their number of tokens tells nothing"
        assert len({tuple(answer) for answer in item.answers}) == len(item.answers) == choices


def test_continuations_follow_their_prompt_and_others_stand_in_the_same_text(tokenizer: Tokenizer) -> None:
    pool = continuations(documents(), tokenizer, SIZES, COUNTS)
    ids = {title: tokenizer.encode(text) for title, _, text in documents()}
    check([*pool.tune, *pool.test], 3)
    assert len(pool.tune) == 20 and len(pool.test) == 30 and len(pool.rows) == 100
    for item in pool.test:
        own = ids[item.cluster]
        whole = item.prompt + item.answers[0]
        at = [i for i in range(len(own)) if own[i : i + len(whole)] == whole]
        assert at and tokenizer.token_text(item.answers[0][0])[0] in " \n"
        for wrong in item.answers[1:]:
            assert any(own[i : i + 8] == wrong for i in range(len(own)))
    texts = [text for title, keys, text in documents() if side_of(keys, COUNTS) == "train"]
    assert all(any(row["prompt"] + row["completion"] in text for text in texts) for row in pool.rows)


def test_wrong_continuations_of_other_documents(tokenizer: Tokenizer) -> None:
    pool = continuations(documents(), tokenizer, dataclasses.replace(SIZES, same=False), COUNTS)
    ids = {title: tokenizer.encode(text) for title, _, text in documents()}
    for item in pool.test:
        own = ids[item.cluster]
        assert not any(own[i : i + 8] == wrong for wrong in item.answers[1:] for i in range(len(own)))
    check(pool.test, 3)


def test_rows_have_the_tokens_of_the_text_they_come_from(tokenizer: Tokenizer) -> None:
    pool = continuations(documents(), tokenizer, SIZES, COUNTS)
    same = sum(len(tokenizer.encode(row["prompt"] + row["completion"])) == 20 for row in pool.rows)
    assert same > 0.8 * len(pool.rows), "but where a piece ends within a word"


def test_what_the_training_text_quotes_is_not_asked(tokenizer: Tokenizer) -> None:
    texts = prose.documents(80)
    # Every second document stands once more in another one, on whatever side that lies.
    both = [(f"text {n}", (f"key {n}",), text) for n, text in enumerate(texts)]
    copies = [(f"copy {n}", (f"copied {n}",), text) for n, text in enumerate(texts) if n % 2]
    pool = continuations([*both, *copies], tokenizer, Sizes(24, 12, 3), COUNTS)
    learned = " ".join(text for _, keys, text in (*both, *copies) if side_of(keys, COUNTS) == "train")
    asked = [tokenizer.decode([*item.prompt, *item.answers[0]]) for item in (*pool.tune, *pool.test)]
    whole = [" ".join(text.split()[1:-1]) for text in asked]  # its ends lie within words
    assert whole and not any(text.strip() in learned for text in whole)


def test_wrong_answers_are_not_quoted_either(tokenizer: Tokenizer) -> None:
    texts = prose.documents(80)
    both = [(f"text {n}", (f"key {n}",), text) for n, text in enumerate(texts)]
    copies = [(f"copy {n}", (f"copied {n}",), text) for n, text in enumerate(texts) if n % 2]
    pool = continuations([*both, *copies], tokenizer, Sizes(24, 12, 3, same=False), COUNTS)
    learned = {text for _, keys, text in (*both, *copies) if side_of(keys, COUNTS) == "train"}
    quoted = [tokenizer.encode(text) for _, keys, text in (*both, *copies) if text in learned]
    places = {tuple(ids[i : i + 12]) for ids in quoted for i in range(len(ids))}
    wrong = [tuple(answer) for item in (*pool.tune, *pool.test) for answer in item.answers[1:]]
    assert wrong and not places & set(wrong)
    assert pool.facts()["left_out"]["quoted in the training text"] > 0


def stretches(lengths: list[int]) -> list[Stretch]:
    """Documents with so many stretches, no two of which are alike."""
    sizes = Sizes(prompt=2, answer=2, choices=2, same=False)
    ids_T = np.arange(2 * sum(lengths) + 4)
    at = iter(range(2, 2 * sum(lengths) + 2, 2))
    titles = [f"text {number}" for number, n in enumerate(lengths) for _ in range(n)]
    return [Stretch(title, (title,), ids_T, next(at), sizes) for title in titles]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 120))
def test_items_are_spread_evenly_over_documents(lengths: list[int], most: int) -> None:
    found = Counter(part.title for part in evenly(stretches(lengths), most, "salt"))
    assert sum(found.values()) == min(most, sum(lengths))
    least = next(cap for cap in range(31) if sum(min(cap, n) for n in lengths) >= min(most, sum(lengths)))
    assert all(found[f"text {number}"] <= min(least, n) for number, n in enumerate(lengths))


def test_a_long_document_does_not_outweigh_the_others() -> None:
    found = Counter(part.title for part in evenly(stretches([200, 20, 20, 3]), 40, "salt"))
    assert max(found.values()) <= 13 and found["text 3"] >= 2 and sum(found.values()) == 40


def test_hardly_a_wrong_answer_is_met_twice() -> None:
    parts = stretches([400, 100, 100, 100])
    sizes = parts[0].sizes
    met = Counter(tuple(answer) for part in parts for answer in wrong_answers(part, parts, sizes))
    assert sum(met.values()) == 700 and max(met.values()) <= 8, "200 of them, in 700 items, were met 3.5 times each"
    assert len(met) > 0.55 * len(parts)
    for part in parts[:50]:
        wrong = wrong_answers(part, parts, sizes)
        assert wrong != [part.answer] and wrong == wrong_answers(part, parts, sizes)
        assert all(other.title != part.title for other in parts if other.answer in wrong)


def test_a_gloss_that_stands_behind_a_training_word_is_not_asked(tokenizer: Tokenizer) -> None:
    known = dict(made_glosses())
    train = next(word for word in known if side_of([f"word {word.casefold()}"], COUNTS) == "train")
    pool = headwords(known.items(), tokenizer, WIDE, COUNTS)
    word = pool.test[0].cluster
    pool = headwords({**known, word: known[train].upper()}.items(), tokenizer, WIDE, COUNTS)
    assert word not in {item.cluster for item in pool.test}
    assert pool.facts()["left_out"]["with the gloss of a training word"] == 1


def test_facts_tell_chance_and_what_clusters_are_worth() -> None:
    items = [Item([1], [[2], [3]], "a"), Item([2], [[2], [3]], "a"), Item([3], [[2], [3]], "b")]
    facts = Pool([{}], items, [*items, Item([4], [[1], [2], [3], [4]], "b")]).facts()
    assert facts["chance"] == pytest.approx((3 / 2 + 1 / 4) / 4)
    assert facts["effective_clusters"] == 2.0 and facts["clusters"] == {"tune": 2, "test": 2}


def test_sides_lie_apart(tokenizer: Tokenizer) -> None:
    for pool in (
        continuations(documents(), tokenizer, SIZES, COUNTS),
        headwords(made_glosses(), tokenizer, WIDE, COUNTS),
    ):
        assert not {item.cluster for item in pool.tune} & {item.cluster for item in pool.test}
    words = {row["completion"].strip() for row in pool.rows}
    assert not words & {item.cluster for item in (*pool.tune, *pool.test)}
    check([*pool.tune, *pool.test], 4)


def test_a_headword_is_asked_by_its_gloss(tokenizer: Tokenizer) -> None:
    known = dict(made_glosses())
    pool = headwords(known.items(), tokenizer, WIDE, COUNTS)
    for item in pool.test:
        assert tokenizer.decode(item.prompt) == f"{known[item.cluster]} ="
        assert tokenizer.decode(item.prompt + item.answers[0]) == f"{known[item.cluster]} = {item.cluster}"
        assert all(tokenizer.decode(answer).strip() in known for answer in item.answers)
        assert len(item.prompt) <= 120
    assert pool.facts()["test"] == 30 and "items_sha256" in pool.facts()
    assert headwords(known.items(), tokenizer, WIDE, COUNTS) == pool


@given(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), max_size=30), st.integers(2, 5))
def test_wrong_answers_are_wrong_and_different(among: list[list[int]], choices: int) -> None:
    right = [1, 2]
    found = others(right, among, choices, "key")
    assert right not in found and len({tuple(answer) for answer in found}) == len(found) <= choices - 1
    assert all(answer in among for answer in found) and found == others(right, among[::-1], choices, "key")


def test_drawing_keeps_the_order() -> None:
    parts = [(f"{n}", n) for n in range(50)]
    found = drawn(parts, 10, "a")
    assert len(found) == 10 and found == sorted(found, key=lambda part: part[1]) and found != drawn(parts, 10, "b")
    assert drawn(parts, 50, "a") == parts


def test_too_little_text_is_said(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="task continuation: too few documents are held out to tune on"):
        continuations([], tokenizer, SIZES, COUNTS)
    with pytest.raises(UserError, match="task headword: too few headwords are held out to tune on"):
        headwords(made_glosses()[:3], tokenizer, SIZES, COUNTS)
    with pytest.raises(UserError, match="no headwords are left to learn from; hold out less"):
        headwords(made_glosses(), tokenizer, WIDE, Counts(share=1.0))
