"""AdamW, its learning-rate schedules, gradient clipping, and averaged weights.

    optimizer = build_optimizer(network, fields)
    set_learning_rate(optimizer, learning_rate(step, steps, fields))

Schedules are pure functions of the step, so a resumed run needs no state for them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable

import torch

from unmask.model.presets import warmup_steps
from unmask.model.sharded import is_sharded
from unmask.training.recipe_fields import OptimizerFields


class AdamW(torch.optim.AdamW):
    """PyTorch's, whose methods each import its compiler, to stay out of its graphs: over a second of every start.

    Updates are in no graph here, compiled or not, so these are the methods as they stand within.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)


def build_optimizer(network: torch.nn.Module, fields: OptimizerFields) -> torch.optim.AdamW:
    """AdamW over all parameters with one weight decay, as the paper; fused where the device has it."""
    return AdamW(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=fields.lr,
        betas=(fields.beta1, fields.beta2),
        eps=fields.eps,
        weight_decay=fields.weight_decay,
        fused=True,
    )


def resolved_warmup(steps: int, fields: OptimizerFields) -> int:
    """Warm-up steps: as asked, or the paper's rule, which a short run cuts to a tenth of its steps."""
    if fields.warmup >= 0:
        return fields.warmup
    return min(warmup_steps(steps), max(1, steps // 10))


def decay_steps(first: int, fields: OptimizerFields) -> float:
    """How long the rate of `wsd` falls in a run that was begun with `first` steps."""
    return max(1.0, fields.decay_share * first)


def learning_rate(
    step: int, steps: int, fields: OptimizerFields, first: int | None = None, forked_at: int = 0
) -> float:
    """The rate of step 0 .. steps-1: linear warm-up from 0, then cosine, constant, or constant with a linear decay.

    first: steps that a run was begun with which has been made longer since; its warm-up and decay stay as they were.
    forked_at: the step at which a run forks off another, from which on `cooldown` decays to the end.
    """
    first = steps if first is None else first
    warmup = resolved_warmup(first, fields)
    if step < warmup:
        return fields.lr * (step + 1) / (warmup + 1)
    if fields.schedule == "constant":
        return fields.lr
    if fields.schedule == "cosine":
        done = (step - warmup) / max(1, steps - warmup)
        share = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    elif fields.schedule == "cooldown":
        share = min(1.0, (steps - step) / max(1, steps - forked_at))
    else:
        share = min(1.0, (steps - step) / decay_steps(first, fields))
    return fields.lr * (fields.final + (1 - fields.final) * share)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradient_norm(parameters: Iterable[torch.nn.Parameter], clip: float) -> float:
    """The global gradient norm before clipping to `clip` (0: no clipping); not finite where a gradient is not."""
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = total_norm([parameter.grad for parameter in parameters])  # type: ignore[misc]
    # Most steps need no clipping: their gradients are not read and written once more.
    if clip and float(norm) > clip:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    return float(norm)


@torch.no_grad()
def parameter_norm(network: torch.nn.Module) -> float:
    """The global norm of the weights (of sharded ones a collective)."""
    return float(total_norm([parameter.detach() for parameter in network.parameters()]))


def total_norm(tensors: list[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm of all tensors together."""
    if all(t.device.type == "cpu" and not is_sharded(t) for t in tensors):
        # A dot product uses all threads, at several times the speed of a reduction.
        return torch.stack([t.flatten().dot(t.flatten()) for t in tensors]).sum().sqrt()
    norm = torch.nn.utils.get_total_norm(tensors)
    return norm.full_tensor() if is_sharded(norm) else norm


@torch.no_grad()
def update_average(average: dict[str, torch.Tensor], network: torch.nn.Module, decay: float, step: int) -> None:
    """One step of the exponential moving average; early steps use a shorter memory, so that it starts unbiased."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, tensor in network.state_dict().items():
        average[name].lerp_(tensor, 1 - decay)
