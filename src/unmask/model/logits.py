"""Logits in fp32 of hidden states and a head in bf16, not rounded to bf16 on the way.

    logits_NV = full_logits(hidden_NE, weight_VE)

A product in bf16 sums in fp32 and then rounds to 8 bits. Of 32,000 logits many are equal then: the likeliest token is
told by its number, the margin between two of them is 0, and a log-likelihood is off by as much as a rounding. On CUDA
PyTorch has a product of bf16 matrices that leaves its sums as they are. Elsewhere it is made of two: a product, and the
same one less what the first gave, a small number whose own rounding is 2^-8 of that. So 16 bits are right, about as
many as sums in fp32 have right. Where a library rounds before it subtracts, the second adds nothing, and all is as it
would be without.

Shapes: N positions, E width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

COLUMNS = 2048  # of the vocabulary at a time, so that the first product is in a core's cache for the second


def full_logits(hidden: torch.Tensor, weight_VE: torch.Tensor) -> torch.Tensor:
    """fp32 logits [..., V] of bf16 hidden states [..., E]; without gradients."""
    if hidden.device.type == "cuda":
        return _on_cuda(hidden, weight_VE)
    hidden_NE = hidden.reshape(-1, hidden.shape[-1])
    logits_NV = hidden_NE.new_empty((len(hidden_NE), len(weight_VE)), dtype=torch.float32)
    for start in range(0, len(weight_VE), COLUMNS):
        weight_Ev = weight_VE[start : start + COLUMNS].t()
        logits_Nv = logits_NV[:, start : start + COLUMNS]
        rounded_Nv = torch.mm(hidden_NE, weight_Ev)
        logits_Nv.copy_(rounded_Nv).add_(torch.addmm(rounded_Nv, hidden_NE, weight_Ev, beta=-1))
    return logits_NV.view(*hidden.shape[:-1], -1)


def _on_cuda(hidden: torch.Tensor, weight_VE: torch.Tensor) -> torch.Tensor:
    hidden_NE = hidden.reshape(-1, hidden.shape[-1])
    try:
        logits_NV = torch.mm(hidden_NE, weight_VE.t(), out_dtype=torch.float32)
    except (TypeError, NotImplementedError):  # an older PyTorch
        logits_NV = F.linear(hidden_NE.float(), weight_VE.float())
    return logits_NV.view(*hidden.shape[:-1], -1)
