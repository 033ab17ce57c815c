"""Cross-entropy of a linear head without its logits: a few rows at a time, gradients included.

    total, ce_N = weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)
    total.backward()

A training step needs logits of [masked tokens x vocabulary] only to sum over them. Here each chunk's logits become
probabilities, then the gradient, and are folded into the gradients of the hidden states and of the head at once, in the
forward pass: the loss is linear in the incoming gradient, so that the backward pass only scales. Memory is one chunk of
logits instead of several copies of all of them. The idea: Liger Kernel (arXiv 2410.10989), Cut Cross-Entropy
(arXiv 2411.09009).

Shapes: N rows (n of them at a time), E width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from unmask.model.linear import filling

# Logits in one chunk (32 MiB in fp32). Smaller ones would spend their time on the sum of the head's gradient, which
# each chunk reads and writes whole; larger ones leave the caches, and glibc gives their memory back each time. On a GPU
# as many as keep it busy.
CHUNK_CPU, CHUNK_GPU = 1 << 23, 1 << 27
# In bf16 on a CPU: tokens of the vocabulary at a time, and logits that are kept (64 MiB).
COLUMNS, KEPT_CPU = 2048, 1 << 25


def weighted_cross_entropy(
    hidden_NE: torch.Tensor,
    weight_VE: torch.Tensor,
    targets_N: torch.Tensor,
    weights_N: torch.Tensor,
    copy_VE: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of weights_N * CE_N (nats, with the graph) and CE_N itself (detached).

    Under autocast the matrix products run in its type; sums and softmax are fp32. copy_VE: the weight in that type.
    """
    wanted = torch.is_grad_enabled() and (hidden_NE.requires_grad or weight_VE.requires_grad)
    if torch.is_autocast_enabled(hidden_NE.device.type):
        dtype = torch.get_autocast_dtype(hidden_NE.device.type)
        if wanted and hidden_NE.device.type == "cpu":
            copy_VE = weight_VE.detach().to(dtype) if copy_VE is None else copy_VE
            return _CrossEntropyByColumns.apply(hidden_NE, weight_VE, targets_N, weights_N, copy_VE)
        hidden_NE, weight_VE = hidden_NE.to(dtype), weight_VE.to(dtype)
    if wanted:
        return _WeightedCrossEntropy.apply(hidden_NE, weight_VE, targets_N, weights_N)
    rows = _rows(len(weight_VE), hidden_NE.device)
    ce_N = torch.cat(
        [
            F.cross_entropy(F.linear(hidden_nE, weight_VE).float(), targets_n, reduction="none")
            for hidden_nE, targets_n in zip(hidden_NE.split(rows), targets_N.split(rows), strict=True)
        ]
    )
    return (ce_N * weights_N).sum(), ce_N


def _rows(vocab_size: int, device: torch.device) -> int:
    rows = max(1, (CHUNK_GPU if device.type == "cuda" else CHUNK_CPU) // vocab_size)
    return rows - rows % 128 if rows > 128 else rows  # matrix products like whole tiles


class _WeightedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NE: torch.Tensor, weight_VE: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(hidden_NE.device.type, enabled=False):
            asked, more = len(targets_N), filling(len(targets_N), hidden_NE)
            if more:
                hidden_NE, targets_N = F.pad(hidden_NE, (0, 0, 0, more)), F.pad(targets_N, (0, more))
                weights_N = F.pad(weights_N, (0, more))  # which count nothing
            rows, count = _rows(len(weight_VE), hidden_NE.device), len(targets_N)
            needs_hidden, needs_weight = ctx.needs_input_grad[:2]
            grad_hidden_NE = torch.empty_like(hidden_NE) if needs_hidden else None
            grad_weight_VE: torch.Tensor | None = None  # in fp32
            ce_N = torch.empty(count, dtype=torch.float32, device=hidden_NE.device)
            logits_nV = hidden_NE.new_empty(min(rows, count), len(weight_VE))  # one for all chunks
            for start in range(0, count, rows):
                part = slice(start, start + rows)
                hidden_nE, target_n1, weight_n1 = hidden_NE[part], targets_N[part, None], weights_N[part, None]
                n = len(target_n1)
                torch.mm(hidden_nE, weight_VE.T, out=logits_nV[:n])
                logp_nV = logits_nV[:n].float()
                # In place on a CPU, whose kernel goes over a row element by element: half the memory to move.
                logp_nV = torch.log_softmax(logp_nV, 1, out=logp_nV if logp_nV.device.type == "cpu" else None)
                ce_N[part] = -logp_nV.gather(1, target_n1)[:, 0]
                slope_nV = logp_nV.exp_()  # p - onehot, the slope of each CE by its logits
                slope_nV.scatter_add_(1, target_n1, slope_nV.new_full(target_n1.shape, -1.0))
                slope_nV = slope_nV.to(hidden_NE.dtype)
                # Weights scale n x E numbers here, not n x V.
                if grad_hidden_NE is not None:
                    grad_hidden_NE[part] = (slope_nV @ weight_VE) * weight_n1
                if needs_weight:
                    scaled_nE = (hidden_nE * weight_n1).to(hidden_NE.dtype)
                    if grad_weight_VE is None:
                        grad_weight_VE = (slope_nV.T @ scaled_nE).float()
                    elif scaled_nE.dtype == torch.float32:
                        grad_weight_VE.addmm_(slope_nV.T, scaled_nE)
                    else:
                        grad_weight_VE += slope_nV.T @ scaled_nE
            if needs_weight and grad_weight_VE is None:  # no rows
                grad_weight_VE = torch.zeros_like(weight_VE)
            # Not `save_for_backward`: given away in the backward pass, they become the parameters' gradients uncopied.
            ctx.grads = (
                None if grad_hidden_NE is None else grad_hidden_NE[:asked],
                None if grad_weight_VE is None else grad_weight_VE.to(weight_VE.dtype),
            )
            ce_N, weights_N = ce_N[:asked], weights_N[:asked]
            ctx.mark_non_differentiable(ce_N)
            return (ce_N * weights_N).sum(), ce_N

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor, _: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        return *_given(ctx, grad), None, None


class _CrossEntropyByColumns(torch.autograd.Function):
    """The same with products in bf16 on a CPU, over a few columns (tokens of the vocabulary) at a time.

    Each slice of the head's gradient is written once instead of summed over chunks of rows. Between the pass that sums
    and the one that needs them, a block of rows keeps exp(logit - peak) in bf16, with the peak of its slice: what lacks
    to probabilities is a factor of each row, which goes to the other side of the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NE: torch.Tensor,
        weight_VE: torch.Tensor,
        targets_N: torch.Tensor,
        weights_N: torch.Tensor,
        copy_VE: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", enabled=False):
            needs_hidden, needs_weight = ctx.needs_input_grad[:2]
            asked, more = len(targets_N), filling(len(targets_N), copy_VE)
            hidden_NE, targets_N = F.pad(hidden_NE, (0, 0, 0, more)), F.pad(targets_N, (0, more))
            weights_N = F.pad(weights_N, (0, more))  # which count nothing
            grad_hidden_NE = torch.zeros_like(hidden_NE, dtype=torch.float32) if needs_hidden else None
            some = torch.empty_like if len(targets_N) else torch.zeros_like  # the first block of rows writes all of it
            grad_weight_VE = some(weight_VE, dtype=torch.float32) if needs_weight else None
            ce_N = torch.empty(len(targets_N))
            dtype, slices = copy_VE.dtype, copy_VE.split(COLUMNS)
            firsts = range(0, len(copy_VE), COLUMNS)
            rows = max(1, KEPT_CPU // len(copy_VE))
            for start in range(0, len(targets_N), rows):
                part = slice(start, start + rows)
                hidden_nE, target_n, weight_n1 = hidden_NE[part].to(dtype), targets_N[part], weights_N[part, None]
                every_row_n = torch.arange(len(target_n))
                kept, peaks, sums, logit_n = [], [], [], torch.empty(len(target_n))
                for first, weight_vE in zip(firsts, slices, strict=True):
                    logits_nv = hidden_nE @ weight_vE.T
                    exp_nv = logits_nv.float()
                    here_m = every_row_n[(target_n >= first) & (target_n < first + len(weight_vE))]
                    column_m = target_n[here_m] - first
                    logit_n[here_m] = exp_nv[here_m, column_m]
                    peaks.append(exp_nv.amax(1, keepdim=True))
                    sums.append(exp_nv.sub_(peaks[-1]).exp_().sum(1, keepdim=True))
                    exp_nv[here_m, column_m] = 0
                    kept.append(logits_nv.copy_(exp_nv))
                peak_nC, sum_nC = torch.cat(peaks, 1), torch.cat(sums, 1)
                total_n1 = (peak_nC + sum_nC.log()).logsumexp(1, keepdim=True)
                scale_nC = (peak_nC - total_n1).exp_()  # of a slice's kept numbers to probabilities
                ce_n = ce_N[part] = total_n1[:, 0] - logit_n
                # The slope of a CE by its logits is p - onehot; the target's in fp32, since near one bf16 is coarse.
                slope_n1 = torch.expm1(-ce_n)[:, None]
                scaled_nE = hidden_nE * weight_n1
                if grad_hidden_NE is not None:
                    grad_hidden_NE[part] = slope_n1 * copy_VE[target_n]
                for index, (first, exp_nv, weight_vE) in enumerate(zip(firsts, kept, slices, strict=True)):
                    scale_n1 = scale_nC[:, index, None]
                    if grad_hidden_NE is not None:
                        grad_hidden_NE[part].addcmul_(exp_nv @ weight_vE, scale_n1)
                    if grad_weight_VE is not None:
                        grad_vE = grad_weight_VE[first : first + len(weight_vE)]
                        part_vE = exp_nv.T @ (scaled_nE * scale_n1).to(dtype)
                        grad_vE.add_(part_vE) if start else grad_vE.copy_(part_vE)
                if grad_weight_VE is not None:
                    grad_weight_VE.index_add_(0, target_n, scaled_nE * slope_n1)
                if grad_hidden_NE is not None:
                    grad_hidden_NE[part] *= weight_n1
            grad_hidden = None if grad_hidden_NE is None else grad_hidden_NE[:asked].to(hidden_NE.dtype)
            ctx.grads, ce_N = (grad_hidden, grad_weight_VE), ce_N[:asked]
            ctx.mark_non_differentiable(ce_N)
            return (ce_N * weights_N[:asked]).sum(), ce_N

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor, _: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None]:
        return *_given(ctx, grad), None, None, None


def _given(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The gradients made in the forward pass, given away uncopied."""
    if ctx.grads is None:
        raise RuntimeError("weighted_cross_entropy was run backward twice; its gradients are made once")
    grads: tuple[torch.Tensor | None, torch.Tensor | None] = ctx.grads
    ctx.grads = None
    # A step's loss is scaled beforehand, so its gradient is one, and multiplying would only copy. On a GPU asking
    # would wait for it, and copying is cheap.
    if grad.device.type != "cpu" or float(grad) != 1.0:
        grads = (None if grads[0] is None else grads[0] * grad, None if grads[1] is None else grads[1] * grad)
    return grads
