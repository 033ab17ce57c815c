"""Guidance: what the other view sees, and when it counts."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.decoding.rules.guidance import Guidance
from unmask.errors import UserError
from unmask.model.folder import Model

MASK = 7


def probabilities(model: Model, c: list[int], u: list[int], w: float, new: int) -> list[float]:
    """Of the likeliest tokens of the last `new` positions in one guided pass."""
    with torch.no_grad():
        c_V, u_V = (model.network(torch.tensor([tokens]))[0, -new:] for tokens in (c, u))
    return (u_V + (1 + w) * (c_V - u_V)).softmax(-1).amax(-1).tolist()


ONE_PASS = {"length": 4, "steps": 1, "order": "confidence", "temperature": 0}


@pytest.mark.parametrize(
    ("options", "blind"),
    [
        ({}, [MASK] * 3),
        ({"guidance_mode": "drop"}, []),
        ({"negative": [5, 6]}, [5, 6]),
        ({"negative": [[5, 6, 4, 0, 1]]}, [5, 6, 4, 0, 1]),
    ],
)
def test_views(mdm: Model, options, blind: list[int]) -> None:
    (g,) = generate(mdm, [[1, 2, 3]], guidance=0.7, **ONE_PASS, **options)
    expected = probabilities(mdm, [1, 2, 3] + [MASK] * 4, blind + [MASK] * 4, 0.7, 4)
    assert g.probabilities == pytest.approx(expected, rel=1e-4) and g.nfe == 2
    plain = generate(mdm, [[1, 2, 3]], **ONE_PASS)[0]
    assert g.probabilities != pytest.approx(plain.probabilities, rel=1e-3)


@pytest.mark.parametrize("cache", [None, "prefix:1", "dual:1", "reuse"])
def test_views_of_a_mixed_batch(mdm: Model, cache) -> None:
    """Rows with another view each, one longer than the canvas, and one without guidance."""
    prompts = [[1, 2, 3], [4], [5, 6], [1, 2, 3, 4]]
    options = {
        "guidance": [0.7, 0.0, 1.0, 0.4],
        "guidance_mode": ["mask", "mask", "drop", "mask"],
        "negative": [None, None, None, [6] * 9],
    }
    together = generate(mdm, prompts, length=6, steps=4, cache=cache, **options)
    for row, prompt in enumerate(prompts):
        own = {name: value[row] for name, value in options.items()}
        (alone,) = generate(mdm, [prompt], length=6, steps=4, seed=[(0, row)], **own)
        assert alone.tokens == together[row].tokens and alone.nfe == together[row].nfe
        assert alone.probabilities == pytest.approx(together[row].probabilities, rel=1e-4)


def test_scale_over_noise_levels() -> None:
    assert [Guidance(2.0).at(t) for t in (0, 0.5, 1)] == [2, 2, 2]
    assert [Guidance(2.0, schedule="linear").at(t) for t in (0, 0.5, 1)] == [2, 1, 0]
    assert [Guidance(2.0, schedule="falling").at(t) for t in (0, 0.5, 1)] == [0, 1, 2]
    assert [Guidance(2.0, schedule="cosine").at(t) for t in (0, 0.5, 1)] == pytest.approx([2, 1, 0])
    assert [Guidance(2.0, interval=(0.3, 0.6)).at(t) for t in (0.2, 0.3, 0.6, 0.7)] == [0, 2, 2, 0]


def test_an_interval_pays_for_its_passes_only(mdm: Model) -> None:
    """Eight masks, one a pass: t is 1, 7/8, ..., 1/8; at most 1/2 for four of them."""
    options = dict(length=8, steps=8, order="left-to-right", quota="even")
    (late,) = generate(mdm, [[1]], guidance=1.0, guidance_interval=(0, 0.5), **options)
    assert late.nfe == 8 + 4
    plain = generate(mdm, [[1]], **options)[0]
    assert late.tokens[:4] == plain.tokens[:4] and late.probabilities[:4] == plain.probabilities[:4]
    assert late.probabilities[4:] != plain.probabilities[4:]


def test_views_that_move_need_blanks_behind_the_prompt(mdm: Model) -> None:
    for options in ({"guidance_mode": "drop"}, {"negative": [3]}):
        with pytest.raises(UserError, match="prompt 1 has blanks in it"):
            generate(mdm, [[1], [1, MASK, 2]], length=3, guidance=1.0, **options)
    with pytest.raises(UserError, match="negative has 3 entries for 2 prompts"):
        generate(mdm, [[1], [1]], length=3, guidance=1.0, negative=[[1], [2], None])
