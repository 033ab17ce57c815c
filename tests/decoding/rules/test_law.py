"""The law of a position, block by block, against a softmax in float64."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding.rules.law import Law


@pytest.mark.parametrize("vocab_size", [1, 3, 128, 129, 3000])
def test_probabilities(vocab_size: int) -> None:
    logits_NV = 3 * torch.randn(7, vocab_size, generator=torch.Generator().manual_seed(4))
    law, p_NV = Law(logits_NV, slopes=True), logits_NV.double().softmax(-1)
    ids_N1 = torch.arange(7)[:, None] % vocab_size
    torch.testing.assert_close(law.probability(ids_N1), p_NV.gather(1, ids_N1)[:, 0], rtol=2e-6, atol=0)
    torch.testing.assert_close(law.best_N, p_NV.amax(1), rtol=2e-6, atol=0)
    torch.testing.assert_close(law.log_probabilities(slice(2, 5)), p_NV.log().float()[2:5], rtol=1e-5, atol=2e-6)
    assert law.slope_N is not None and Law(logits_NV).slope_N is None
