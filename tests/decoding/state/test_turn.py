"""Rows that act in one pass draw as they would alone; their noise level."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.table import Table
from unmask.decoding.state.turn import ORDERING, stream
from unmask.diffusion.noise import LENGTH_DRAW
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


@pytest.mark.parametrize(("mask_id", "size"), [(5, 5), (2, 5), (0, 5), (4, 5)])
def test_random_tokens_are_all_but_the_mask_each_as_often(mask_id: int, size: int) -> None:
    canvas = Canvas(Table(2, 4000), mask_id, size)
    rows_R = canvas.join([[], []], [4000, 3000])
    clock = Clock(canvas)
    clock.join(rows_R, torch.tensor([4, 4]), torch.tensor([0, 0]))
    tokens_RL = clock.turn(rows_R).random_tokens(stream("test"))
    counts = tokens_RL[0].bincount(minlength=size).tolist()
    wanted = [token for token in range(size) if token != mask_id]
    assert [token for token in range(size) if counts[token]] == wanted
    assert all(abs(counts[token] - 4000 / len(wanted)) < 130 for token in wanted), counts
    alone = clock.turn(rows_R[1:]).random_tokens(stream("test"))
    assert torch.equal(alone[0], tokens_RL[1]) and not torch.equal(tokens_RL[0, :3000], tokens_RL[1, :3000])
    clock.advance(rows_R)
    assert not torch.equal(clock.turn(rows_R).random_tokens(stream("test")), tokens_RL)


def test_streams_of_rules_lie_apart_from_ours_and_below_those_of_training() -> None:
    numbers = [stream(name) for name in ("lean", "other", "x", "y")]
    assert len(set(numbers)) == 4
    assert all(ORDERING + (1 << 40) < number and number + (1 << 40) < LENGTH_DRAW for number in numbers)
