"""Logits of some hidden states: in pieces, and with guidance at all or some of the positions."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding.passes.logits import Blind, Scores, pieces
from unmask.model.backbone import predictions
from unmask.model.folder import Model


def test_pieces_hold_no_more_than_may_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.decoding.passes.logits.LOGITS_AT_ONCE", 30)
    assert pieces(7, 10) == [slice(0, 3), slice(3, 6), slice(6, 9)]
    assert pieces(2, 100) == [slice(0, 1), slice(1, 2)] and pieces(0, 10) == []


@pytest.mark.parametrize("at_once", [1 << 24, 20, 1])
@pytest.mark.parametrize("guided", [[0, 1, 2, 3, 4], [0, 3], [4], []], ids=str)
def test_guidance_is_the_sum_written_out(
    mdm: Model, monkeypatch: pytest.MonkeyPatch, at_once: int, guided: list[int]
) -> None:
    network, generator = mdm.network, torch.Generator().manual_seed(0)
    hidden_NE = torch.randn(5, network.config.n_embd, generator=generator)
    blind_ME = torch.randn(len(guided), network.config.n_embd, generator=generator)
    w_M = torch.linspace(-0.5, 2, len(guided))
    at_M = None if len(guided) == 5 else torch.tensor(guided, dtype=torch.int64)
    monkeypatch.setattr("unmask.decoding.passes.logits.LOGITS_AT_ONCE", at_once)
    with torch.inference_mode():
        scores = Scores(network, hidden_NE, Blind(blind_ME, w_M, at_M, at_M))
        found_NV = torch.cat([logits_nV for _, logits_nV in scores.chunks()])
        expected_NV = predictions(network, hidden_NE)
        for at, blind_E, w in zip(guided, blind_ME, w_M, strict=True):
            u_V = predictions(network, blind_E[None])[0]
            expected_NV[at] = u_V + (1 + w) * (expected_NV[at] - u_V)
    torch.testing.assert_close(found_NV, expected_NV, rtol=1e-5, atol=1e-5)
