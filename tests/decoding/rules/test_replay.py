"""Replays: positions by the rules, tokens by the text, and each token's probability as the decoder saw it."""

from __future__ import annotations

import math

import pytest
import torch

from unmask.decoding.rules.law import Law
from unmask.decoding.rules.replay import TEXT, Text
from unmask.decoding.rules.revise import REVISIONS
from unmask.decoding.state.table import Table


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 1.7])
def test_a_text_has_the_probability_at_its_rows_temperature(temperature: float) -> None:
    logits_NV = torch.randn(4, 300, generator=torch.Generator().manual_seed(3)) * 3
    table = Table(3, 5)
    row_N, position_N = torch.tensor([0, 2, 2, 2]), torch.tensor([1, 0, 3, 4])
    ids_N = torch.tensor([7, 299, 0, 128])
    table.positions(TEXT, torch.int64)[row_N, position_N] = ids_N
    table.rows("temperature", torch.float64)[:] = torch.tensor([1.0, 1.0, temperature])
    found_N = Text(table, 300, torch.device("cpu")).of(Law(logits_NV, row_N, position_N))
    by_N = torch.tensor([1.0, *[temperature or 1.0] * 3])[:, None]
    expected_N = -(logits_NV.double() / by_N).log_softmax(-1).gather(1, ids_N[:, None])[:, 0]
    assert found_N.dtype == torch.float64
    assert torch.allclose(found_N, expected_N, rtol=0, atol=1e-5)


def test_a_forbidden_token_has_no_probability() -> None:
    table = Table(1, 1)
    table.rows("temperature", torch.float64)[:] = 1.0
    at = torch.zeros(1, dtype=torch.int64)
    law = Law(torch.tensor([[-math.inf, 0.0]]), at, at)
    assert float(Text(table, 2, torch.device("cpu")).of(law)) == math.inf


def test_no_option_names_it() -> None:
    assert "replay" not in REVISIONS
