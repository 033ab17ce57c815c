"""Arms of `unmask bench decode`: useful tokens, and transformers on the weights of the twin."""

from __future__ import annotations

import pytest

import unmask
from unmask.bench.decode.arms import Ours, Theirs, useful
from unmask.bench.decode.settings import Setting

from ..conftest import Twins


def test_useful_tokens_stand_before_the_first_end() -> None:
    assert useful([3, 4, 0, 5], (0,)) == [3, 4] and useful([3, 4], (0,)) == [3, 4] == useful([3, 4], ())
    assert useful([3, 4, 5, 0], (0, 5)) == [3, 4]


def test_transformers_writes_what_its_weights_say(twins: Twins) -> None:
    pytest.importorskip("transformers")
    model = unmask.load(twins.arm)
    theirs, ours = Theirs(model, 0.0), Ours(model, Setting("ARM", {"temperature": 0.0}))
    prompts = [[5, 6, 7], [8, 9, 10]]
    assert [r.tokens for r in theirs.generate(prompts, 6, 0)] == [r.tokens for r in ours.generate(prompts, 6, 0)]


def test_transformers_too_begins_behind_an_end_of_sequence(twins: Twins) -> None:
    pytest.importorskip("transformers")
    arm = unmask.load(twins.arm)
    theirs = Theirs(arm, temperature=0.0)
    (empty,), (named,) = theirs.generate([[]], 4, 0), theirs.generate([[arm.eos_id or 0]], 4, 0)
    assert empty.tokens == named.tokens
