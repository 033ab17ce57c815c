"""Rows that act in one pass draw as they would alone; their noise level."""

from __future__ import annotations

import pytest

from unmask.decoding import generate
from unmask.model.folder import Model


def test_a_row_does_not_depend_on_its_neighbours(mdm: Model) -> None:
    prompts = [[1, 2, 3], [], [4] * 11, [5, mdm.mask_id, 6]]
    together = generate(mdm, prompts, length=10, steps=8, seed=3)
    for row, prompt in enumerate(prompts):
        alone = generate(mdm, [prompt], length=10, steps=8, seed=[(3, row)])[0]
        assert alone.tokens == together[row].tokens and alone.nfe == together[row].nfe
        assert alone.probabilities == pytest.approx(together[row].probabilities, rel=1e-4)


def test_seeds(mdm: Model) -> None:
    two = generate(mdm, [[1]] * 2, length=12, seed=5)
    assert two[0].tokens != two[1].tokens
    assert generate(mdm, [[1]] * 2, length=12, seed=5) == two
    assert generate(mdm, [[1]] * 2, length=12, seed=[5, two[1].seed]) == two
    assert generate(mdm, [[1]], length=12, seed=6)[0].tokens != two[0].tokens


def test_forced_tokens_are_no_part_of_the_noise_level(mdm: Model) -> None:
    """Guidance from a noise level on: half of a canvas is forced, and all that was a mask still is one."""
    half = {"forced": dict.fromkeys(range(4), 1), "guidance": 1.0, "guidance_interval": (0.9, 1.0)}
    (g,) = generate(mdm, [[5]], length=8, order="left-to-right", quota="even", **half)
    assert g.nfe == 4 + 1  # its first pass alone is guided
