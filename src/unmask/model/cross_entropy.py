"""Cross-entropy of a linear head without its logits: a few rows at a time, gradients included.

    total, ce_N = weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)
    total.backward()

A training step needs logits of [masked tokens x vocabulary] only to sum over them. Here each chunk's logits become
probabilities, then the gradient, and are folded into the gradients of the hidden states and of the head at once, in the
forward pass: the loss is linear in the incoming gradient, so that the backward pass only scales. Memory is one chunk of
logits instead of several copies of all of them.

Shapes: N rows, E width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

# Logits in one chunk (32 MiB in fp32). Smaller ones would spend their time on the sum of the head's gradient, which
# each chunk reads and writes whole; on a GPU as many as keep it busy.
CHUNK_CPU, CHUNK_GPU = 1 << 23, 1 << 27


def weighted_cross_entropy(
    hidden_NE: torch.Tensor, weight_VE: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of weights_N * CE_N (nats, with the graph) and CE_N itself (detached).

    Under autocast the matrix products run in its type; sums and softmax are fp32.
    """
    if torch.is_autocast_enabled(hidden_NE.device.type):
        dtype = torch.get_autocast_dtype(hidden_NE.device.type)
        hidden_NE, weight_VE = hidden_NE.to(dtype), weight_VE.to(dtype)
    if not torch.is_grad_enabled() or not (hidden_NE.requires_grad or weight_VE.requires_grad):
        ce_N = _cross_entropy(hidden_NE, weight_VE, targets_N)
        return (ce_N * weights_N).sum(), ce_N
    total, ce_N = _WeightedCrossEntropy.apply(hidden_NE, weight_VE, targets_N, weights_N)
    return total, ce_N


def _rows(vocab_size: int, device: torch.device) -> int:
    return max(1, (CHUNK_GPU if device.type == "cuda" else CHUNK_CPU) // vocab_size)


def _cross_entropy(hidden_NE: torch.Tensor, weight_VE: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    rows = _rows(len(weight_VE), hidden_NE.device)
    parts = [
        F.cross_entropy(F.linear(hidden_nE, weight_VE).float(), targets_n, reduction="none")
        for hidden_nE, targets_n in zip(hidden_NE.split(rows), targets_N.split(rows), strict=True)
    ]
    return torch.cat(parts)


class _WeightedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NE: torch.Tensor, weight_VE: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = _rows(len(weight_VE), hidden_NE.device)
        grad_hidden_NE = torch.empty_like(hidden_NE)
        grad_weight_VE = torch.zeros_like(weight_VE, dtype=torch.float32)
        ce_N = torch.empty(len(targets_N), dtype=torch.float32, device=hidden_NE.device)
        for start in range(0, len(targets_N), rows):
            part = slice(start, start + rows)
            hidden_nE, target_n1 = hidden_NE[part], targets_N[part, None]
            logp_nV = F.linear(hidden_nE, weight_VE).float().log_softmax(1)
            ce_N[part] = -logp_nV.gather(1, target_n1)[:, 0]
            grad_nV = logp_nV.exp_()
            grad_nV.scatter_add_(1, target_n1, grad_nV.new_full(target_n1.shape, -1.0))
            grad_nV = grad_nV.mul_(weights_N[part, None]).to(hidden_NE.dtype)
            grad_hidden_NE[part] = grad_nV @ weight_VE
            if grad_weight_VE.dtype == hidden_nE.dtype:
                grad_weight_VE.addmm_(grad_nV.T, hidden_nE)
            else:
                grad_weight_VE += grad_nV.T @ hidden_nE
        ctx.save_for_backward(grad_hidden_NE, grad_weight_VE.to(weight_VE.dtype))
        ctx.mark_non_differentiable(ce_N)
        return (ce_N * weights_N).sum(), ce_N

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        grad_hidden_NE, grad_weight_VE = ctx.saved_tensors
        # A gradient of exactly one is the usual case where the divisor is in the weights.
        return grad_hidden_NE * grad, grad_weight_VE * grad, None, None
