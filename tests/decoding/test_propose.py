"""Sampling keeps what float32 would lose."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding.propose import draw
from unmask.errors import UserError


def test_rare_tokens_survive() -> None:
    """p = 1.4e-11 vanishes beside 1 in float32, whose last step below 1 is 6e-8."""
    logits = torch.tensor([[0.0, -25.0], [0.0, -25.0]])
    tokens, _ = draw(logits, 1.0, torch.tensor([1 - 1e-12, 1 - 1e-10], dtype=torch.float64))
    assert tokens.tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_inverse_cdf(temperature: float) -> None:
    """A grid of uniforms hits each token in proportion to its probability, to one grid point."""
    logits = torch.tensor([1.0, -0.5, 0.3, -2.0])
    n = 10_000
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    tokens, logp = draw(logits.expand(n, -1), temperature, grid)
    share = torch.bincount(tokens, minlength=4) / n
    torch.testing.assert_close(share, (logits / temperature).softmax(-1), atol=2 / n, rtol=0)
    torch.testing.assert_close(logp[0].float(), logits.log_softmax(-1))


def test_ends_of_the_interval_and_impossible_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]] * 2)
    tokens, _ = draw(logits, 1.0, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64))
    assert tokens.tolist() == [1, 2]


def test_tiny_temperature_is_argmax() -> None:
    logits = torch.tensor([[3.0, 3.1, -50.0]])
    assert draw(logits, 1e-300, torch.tensor([0.999], dtype=torch.float64))[0].tolist() == [1]
    assert draw(logits, 0, None)[0].tolist() == [1]


def test_broken_logits() -> None:
    with pytest.raises(UserError, match="not finite"):
        draw(torch.tensor([[0.0, torch.nan]]), 0, None)
