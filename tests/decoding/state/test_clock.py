"""A row's blocks and steps."""

from __future__ import annotations

from decoding.schedules import counts
from unmask.decoding import generate
from unmask.model.folder import Model


def test_blocks_divide_the_steps() -> None:
    # Ten positions in blocks of 4, 4, 2; seven steps as 3, 2, 2.
    assert counts(10, 7, "even", block=4) == [(0, 2), (1, 1), (2, 1), (3, 2), (4, 2), (5, 1), (6, 1)]


def test_ancestral_skips_empty_steps(mdm: Model) -> None:
    g = generate(mdm, [[1]], length=8, steps=1000)[0]
    assert g.nfe == len(set(g.steps)) <= 8
    assert max(g.steps) < 1000
