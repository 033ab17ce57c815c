"""Sampling the way the paper's public code does it, as the other arm of `benchmarks.engine`.

    reference_sample(network, prompt_BP, length=256, steps=128, order="confidence", seed=0)       # tokens_BL

Logits at every position, every step a pass, noise and softmax in float64 over all masked positions (ancestral: noise
where a position is unmasked), guidance with both halves in one batch (arXiv 2410.18514, code of the sampler). Written
anew from that description, on our backbone. There, the confident positions of a batch compete; here, each row has its
own, which for one row is the same.

Shapes: B rows, P prompt tokens, L tokens of a row, N masked positions of a batch, V vocabulary.
"""

from __future__ import annotations

import torch

from unmask.model.transformer import Transformer

EPSILON = 1e-5


@torch.no_grad()
def reference_sample(
    network: Transformer,
    prompt_BP: torch.Tensor,
    length: int,
    steps: int,
    order: str = "ancestral",
    guidance: float = 0.0,
    temperature: float = 1.0,
    seed: int = 0,
) -> torch.Tensor:
    """Prompt and `length` new tokens, int64 [B, P + length]; order: "ancestral" or "confidence"."""
    generator = torch.Generator().manual_seed(seed)
    mask_id = int(network.config.mask_id or 0)
    batch, width = prompt_BP.shape
    tokens_BL = torch.cat([prompt_BP, torch.full((batch, length), mask_id)], 1)
    times = torch.linspace(1, EPSILON, steps + 1)
    for step in range(steps):
        share = float(1 - times[step + 1] / times[step]) if step < steps - 1 else 1.0
        open_BL = tokens_BL == mask_id
        logits_NV = _logits(network, tokens_BL, width, guidance)[open_BL]
        if order == "ancestral":
            moved_N = torch.rand(len(logits_NV), generator=generator) < share
            drawn_N = torch.full((len(logits_NV),), mask_id)
            drawn_N[moved_N] = noisy(logits_NV[moved_N], temperature, generator).argmax(-1)
            tokens_BL[open_BL] = drawn_N
            continue
        drawn_N = noisy(logits_NV, temperature, generator).argmax(-1)
        confidence_N = logits_NV.double().softmax(-1).gather(-1, drawn_N[:, None])[:, 0]
        proposed_BL, confidence_BL = tokens_BL.clone(), torch.full(tokens_BL.shape, -torch.inf, dtype=torch.float64)
        proposed_BL[open_BL], confidence_BL[open_BL] = drawn_N, confidence_N
        for row in range(batch):
            count = int(int(open_BL[row].sum()) * share)
            best = confidence_BL[row].topk(count).indices
            tokens_BL[row, best] = proposed_BL[row, best]
    return tokens_BL


def _logits(network: Transformer, tokens_BL: torch.Tensor, width: int, guidance: float) -> torch.Tensor:
    """[B, L, V], guided by the prompt of `width` tokens."""
    if guidance == 0:
        return network(tokens_BL)
    blind_BL = tokens_BL.clone()
    blind_BL[:, :width] = int(network.config.mask_id or 0)
    seen, blind = network(torch.cat([tokens_BL, blind_BL])).chunk(2)
    return blind + (1 + guidance) * (seen - blind)


def noisy(logits_NV: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """Values whose argmax is a draw at this temperature: exp(logits) over powers of exponential noise, in float64."""
    if temperature == 0:
        return logits_NV
    noise_NV = torch.rand(logits_NV.shape, dtype=torch.float64, generator=generator)
    return logits_NV.double().exp() / (-noise_NV.log()) ** temperature
