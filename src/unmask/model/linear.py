"""A linear map whose weight may have a copy in another type, from which its products are taken while training.

    linear = Linear(256, 1024)
    linear.copy = linear.weight.detach().bfloat16()     # `Engine` renews it before each step
    linear(x_BTE).sum().backward()                      # linear.weight.grad is fp32, as the weight is

Mixed precision (arXiv 1710.03740) without a cast at every use: the weight that the optimizer changes stays fp32, and
its gradient is summed over micro-batches in fp32. Without a copy, or without gradients, this is `nn.Linear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from unmask.model.fp32_products import products_are_quick

WHOLE = 64  # rows: a number that differs from step to step is filled up to a multiple of it


def filling(rows: int, like: torch.Tensor) -> int:
    """Rows to add where a CPU's products run in bf16, or in fp32 by the same library, else 0.

    There a product's kernel is made when its shape is first seen, which takes over a millisecond, and a thousand of
    them are kept: masked tokens come in any number.
    """
    if like.device.type != "cpu":
        return 0
    made = like.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu") or products_are_quick()
    return -rows % WHOLE if made else 0


class Linear(nn.Linear):
    """``x @ weight.T``; no bias."""

    copy: torch.Tensor | None

    def __init__(self, inputs: int, outputs: int, device: Any = None) -> None:
        super().__init__(inputs, outputs, bias=False, device=device)
        self.copy = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.copy is None or not torch.is_grad_enabled():
            return F.linear(x, self.weight)
        y: torch.Tensor = _ByCopy.apply(x.to(self.copy.dtype), self.weight, self.copy)
        return y


class BiasedLinear(Linear):
    """``x @ weight.T + bias``."""

    def __init__(self, inputs: int, outputs: int, device: Any = None) -> None:
        super().__init__(inputs, outputs, device=device)
        self.bias = nn.Parameter(torch.empty(outputs, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y + self.bias.to(y.dtype)


class _ByCopy(torch.autograd.Function):
    """The copy takes the weight's place in both products with activations; the gradient is the weight's."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, copy: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, copy)
        ctx.dtype = weight.dtype
        return F.linear(x, copy)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        x, copy = ctx.saved_tensors
        slope_x = slope @ copy if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return slope_x, None, None
        return slope_x, (slope.flatten(0, -2).T @ x.flatten(0, -2)).to(ctx.dtype), None


def linear_maps(network: nn.Module) -> list[Linear]:
    return [module for module in network.modules() if isinstance(module, Linear)]


@torch.no_grad()
def write_copies(maps: Sequence[Linear], dtype: torch.dtype) -> None:
    """Makes the copy of each linear map or, in place, renews it; a frozen weight's stays."""
    for linear in maps:
        if linear.copy is None:
            linear.copy = linear.weight.detach().to(dtype, copy=True)
        elif linear.weight.requires_grad:
            linear.copy.copy_(linear.weight)
