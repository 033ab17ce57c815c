"""Tokens out of logits: argmax, or the inverse CDF in float64.

    tokens_N, logp_NV = draw(logits_NV, temperature=1.0, uniforms_N=uniforms_N)

Gumbel noise in float32 lowers the effective temperature (arXiv 2409.02908); a CDF in float64 read at one uniform per
position is exact and cheaper than V noises.

Shapes: N positions, V vocabulary.
"""

from __future__ import annotations

import torch

from unmask.errors import UserError


def draw(
    logits_NV: torch.Tensor, temperature: float, uniforms_N: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and log-probabilities at temperature 1 in float64. Temperature 0 takes the largest logit."""
    logits_NV = logits_NV.double()
    logp_NV = logits_NV.log_softmax(-1)
    if not logp_NV.isfinite().any(-1).all():
        raise UserError("the model's logits are not finite; its weights may be damaged")
    if temperature == 0:
        return logits_NV.argmax(-1), logp_NV
    assert uniforms_N is not None
    scaled_NV = logp_NV if temperature == 1 else (logits_NV - logits_NV.amax(-1, keepdim=True)) / temperature
    cdf_NV = scaled_NV.softmax(-1).cumsum(-1) if temperature != 1 else logp_NV.exp().cumsum(-1)
    aim_N1 = uniforms_N.to(cdf_NV)[:, None] * cdf_NV[:, -1:]
    tokens_N = torch.searchsorted(cdf_NV, aim_N1, right=True)[:, 0]
    return tokens_N.clamp_(max=cdf_NV.shape[1] - 1), logp_NV
