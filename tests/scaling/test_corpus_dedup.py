"""Passages of which half stood in an earlier document are dropped, and no others."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.scaling.corpus_dedup import Seen, new_since, quoted, shingles

WORDS = [a + b + c for a in "bdgklmnprst" for b in "aeiou" for c in "bdgklmnprst"]


def passage(seed, n=40):
    return " ".join(random.Random(seed).choices(WORDS, k=n))


def test_a_copy_is_dropped_whatever_its_case_breaks_and_stops():
    seen = Seen(bits=20)
    assert seen.fresh([passage(0)]) == [[passage(0)]]
    assert seen.fresh([passage(0).upper().replace(" ", ",\n")]) == []


def test_what_is_left_comes_in_runs_of_neighbours():
    seen = Seen(bits=20)
    seen.fresh([passage(1)])
    document = [passage(2), passage(3), passage(1), passage(4)]
    assert seen.fresh(document) == [[passage(2), passage(3)], [passage(4)]]


def test_half_the_shingles_decide():
    words = passage(5, 80).split()
    for kept, there in ((60, True), (30, False)):
        seen = Seen(bits=20)
        seen.fresh([" ".join(words[:kept])])
        assert (seen.fresh([" ".join(words)]) == []) is there


def test_a_document_is_not_compared_with_itself():
    assert Seen(bits=20).fresh([passage(6), passage(6)]) == [[passage(6), passage(6)]]


def test_short_passages_go_with_the_one_before():
    seen = Seen(bits=20)
    seen.fresh([passage(7)])
    assert seen.fresh(["Ber.", passage(7), "He.", passage(8), "Nay."]) == [[passage(8), "Nay."]]


def test_a_document_of_few_words_is_judged_as_a_whole():
    seen = Seen(bits=20)
    assert seen.fresh(["a short gloss"]) and not seen.fresh(["A short gloss."]) and seen.fresh(["another short gloss"])
    assert seen.fresh(["...", "--"]) == [] and seen.fresh([]) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=30), max_size=12))
def test_what_is_kept_is_a_part_of_what_came_and_nothing_comes_twice(documents):
    seen, kept = Seen(bits=20), []
    for numbers in documents:
        document = [passage(number, 12) for number in numbers]
        flat = [text for run in seen.fresh(document) for text in run]
        assert not set(flat) & set(kept)
        assert set(flat) == set(document) - set(kept)
        kept += flat


def test_hardly_anything_new_is_taken_for_old():
    seen = Seen(bits=22)
    fresh = sum(bool(seen.fresh([passage(100 + seed, 60)])) for seed in range(500))
    assert fresh == 500


def test_windows_of_words_and_their_passages():
    hashes, owner = shingles(["one two three four five six seven eight nine"], _Fixed(), 8)
    assert owner.tolist() == [0, 0] and hashes.dtype == np.uint64
    assert hashes.tolist() == shingles(["One, two three four five six seven eight NINE"], _Fixed(), 8)[0].tolist()


class _Fixed(dict):
    def __missing__(self, word):
        return sum(word.encode())


def test_quoted_counts_exactly():
    words = passage(9, 50).split()
    text, other = " ".join(words), " ".join(words[10:30])
    assert quoted([text, passage(10)], [other, passage(11)], 13) == [(20 - 12, 50 - 12), (0, 40 - 12)]
    assert quoted([], ["x"], 13) == []
    assert quoted(["a b"], ["A B!"], 13) == [(1, 1)] and quoted(["a b"], [], 13) == [(0, 1)]


def test_new_since_gives_what_an_edition_adds():
    older = [[passage(20), passage(21)], [passage(22)]]
    newer = [[passage(20), passage(23)], [passage(22)], [passage(24)]]
    assert list(new_since(older, newer)) == [[[passage(23)]], [], [[passage(24)]]]
