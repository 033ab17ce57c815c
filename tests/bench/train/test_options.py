"""The options of `unmask bench train`: what is measured where nothing is said, and what cannot be."""

from __future__ import annotations

import pytest

from unmask.bench.train.options import BenchOptions
from unmask.errors import UserError


def test_defaults() -> None:
    usual = BenchOptions().resolved()
    assert (usual.size, usual.batch, usual.context, usual.rounds, usual.steps) == (["6M"], 4, 512, 5, 3)
    memory = BenchOptions(memory=True, rounds=2).resolved()
    assert (memory.batch, memory.context, memory.rounds, memory.steps) == (8, 2048, 2, 2)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"against": ["plane"]}, "did you mean 'plain'"),
        ({"batch": -1}, "--batch"),
        ({"ranks": 3, "threads": 2}, "--ranks 3 must divide --threads 2"),
        ({"ranks": 2, "threads": 2, "device": "cuda"}, "on GPUs use torchrun"),
        ({"out": "/nowhere/at/all.json"}, "its folder does not exist"),
        ({"precision": ["fp23"]}, "--precision is 'fp23'"),
    ],
)
def test_bad_input_names_the_option(fields, named) -> None:
    with pytest.raises(UserError, match=named):
        BenchOptions(**fields).resolved()
