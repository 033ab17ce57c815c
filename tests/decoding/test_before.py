"""The engine whose state is a table against the one before it, on random settings: the same to the last bit."""

from __future__ import annotations

import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.before.generate import generate as generate_before
from decoding.test_invariants import MODEL, NAMES, Request, requests
from unmask.decoding import Generation, generate


def fields(g: Generation) -> tuple[object, ...]:
    return g.tokens, g.text, g.steps, g.probabilities, g.trace, g.nfe, g.stopped, g.positions, g.computed, g.canvas


@settings(max_examples=1000)
@given(rows=st.lists(requests(), min_size=1, max_size=4), seed=st.integers(0, 2**40))
def test_as_before(rows: list[Request], seed: int) -> None:
    columns = {name: [request[name] for request in rows] for name in NAMES}
    prompts = [request["prompt"] for request in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        new = generate(MODEL, prompts, seed=seed, **columns)
        old = generate_before(MODEL, prompts, seed=seed, **columns)
    assert [fields(g) for g in new] == [fields(g) for g in old]
