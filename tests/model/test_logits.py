"""bf16 heads without ties: logits as good as sums in fp32, and no token that wins by its number."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unmask.model.logits import COLUMNS, full_logits
from unmask.model.number_types import processor_has_bf16

# Elsewhere a library may round before it subtracts, and then nothing is gained.
pytestmark = pytest.mark.skipif(not processor_has_bf16(), reason="needs a processor with bf16 products")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


@pytest.mark.parametrize("rows", [1, 3, 8, 130])
@pytest.mark.parametrize("vocabulary", [7, 257, COLUMNS, 2 * COLUMNS + 5])
@pytest.mark.parametrize("width", [16, 96])
def test_they_are_right_to_sixteen_bits(rows: int, vocabulary: int, width: int) -> None:
    hidden, weight = random(rows, width), random(vocabulary, width, seed=1) / 4
    exact = hidden.double() @ weight.double().t()
    with torch.no_grad():
        logits = full_logits(hidden, weight)
    assert logits.dtype == torch.float32 and logits.shape == (rows, vocabulary)
    # 2^-17 of each logit, and what sums in fp32 are off by.
    allowed = exact.abs() * 2**-16 + (hidden.double().abs() @ weight.double().abs().t()) * 2**-22
    assert bool(((logits - exact).abs() <= allowed).all())
    rounded = F.linear(hidden, weight).double()
    if rows * vocabulary > 100:
        assert (rounded - exact).abs().max() > 50 * (logits - exact).abs().max()


def test_shapes_are_kept() -> None:
    with torch.no_grad():
        assert full_logits(random(2, 3, 16), random(40, 16)).shape == (2, 3, 40)


def test_constructed_ties_are_none() -> None:
    """Every logit is 64 plus a little that grows with the token's number: bf16 sees one value, the truth an order."""
    width, vocabulary = 32, 200
    hidden = torch.full((5, width), 1.0).bfloat16()
    weight = torch.full((vocabulary, width), 2.0)
    weight[:, 0] += torch.arange(vocabulary) * 2**-9  # below half a step of bf16 at 64
    weight[:, 1] -= 2**-7
    weight = weight.bfloat16()
    exact = weight.double().sum(1)
    best = int(exact.argmax())
    with torch.no_grad():
        logits, rounded = full_logits(hidden, weight), F.linear(hidden, weight).float()
    assert int((rounded[0] == rounded[0].max()).sum()) > 20 and rounded.argmax(1).tolist() != [best] * 5
    assert logits.argmax(1).tolist() == [int((exact == exact.max()).nonzero()[0])] * 5
