"""One training step: forward and backward over this rank's micro-batches, one sum over ranks, one update.

    engine = Engine(network, Objective(recipe.objective), optimizer, ranks)
    gathered = engine.forward_backward(parts, divisor)       # loss of the whole batch; gradients are in place
    norm = engine.update(learning_rate)                      # clips and steps, or skips what is not finite

The loss is the sum over the global batch divided by `divisor`, the count of its target tokens, which every rank knows
from (seed, k): neither micro-batches nor ranks change its scale. DDP and FSDP average gradients over ranks, hence the
factor of their number.
"""

from __future__ import annotations

import inspect
import math
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unmask.diffusion.objective import Inputs, Objective
from unmask.model.linear import linear_maps, write_copies
from unmask.model.transformer import Transformer
from unmask.training.distribution import LAUNCHER_GONE, Ranks
from unmask.training.metrics import LEVEL_BUCKETS, add_by_level
from unmask.training.optimizer import gradient_norm, set_learning_rate
from unmask.training.shared_memory import average_bucket

# The rotary tables are constants: no need to broadcast them before each step. The setting has a new name in torch 2.13.
_NEW = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
CONSTANT_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEW else "broadcast_buffers": False}
SIGNALS = (signal.SIGTERM, signal.SIGINT, LAUNCHER_GONE)  # that end a run after a step, saved


@dataclass
class Gathered:
    """What a step's forward pass found, over all ranks."""

    loss: float  # of the whole batch
    level_total: list[float]  # by bucket of the mask share: summed mean cross-entropies
    level_count: list[int]
    stop: int  # a signal that some rank has been sent, `LAUNCHER_GONE`, or 0

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss)


class Loss(nn.Module):
    """Network and objective as one module, so that `DistributedDataParallel` sees a forward pass."""

    def __init__(self, network: Transformer, objective: Objective) -> None:
        super().__init__()
        self.network, self._objective = network, objective

    def forward(self, inputs: Inputs, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        outcome = self._objective.loss(self.network, inputs, scale)
        return outcome.loss_sum, outcome.ce_B


class Engine:
    """Steps of one network; holds nothing that a checkpoint would need."""

    def __init__(
        self,
        network: Transformer,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        ranks: Ranks,
        sharded: bool = False,
        autocast: AbstractContextManager[Any] | None = None,
        clip: float = 1.0,
    ) -> None:
        """`sharded`: the network went through `shard`; otherwise several ranks replicate it."""
        self.network, self.optimizer, self._ranks, self._clip = network, optimizer, ranks, clip
        self._autocast = nullcontext() if autocast is None else autocast
        # On a CPU: shards are cast as they are gathered, and a GPU's casts cost little.
        on_cpu = network.device.type == "cpu"
        self._copies = on_cpu and not sharded and isinstance(autocast, torch.autocast)
        # Found once: to walk through the modules at every step is felt where a step takes 10 ms.
        self._maps = linear_maps(network)
        self._trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._loss: nn.Module = Loss(network, objective)
        self._settled = True
        if ranks.size > 1 and not sharded:
            replicas = DistributedDataParallel(self._loss, gradient_as_bucket_view=True, **CONSTANT_BUFFERS)
            self._settled = False
            if on_cpu and (total := ranks.shared_sum()) is not None:
                replicas.register_comm_hook(total, average_bucket)
                self._settled = True  # adds in the order of ranks, whatever lies where
            self._loss = replicas

    def forward_backward(
        self, parts: Sequence[Inputs], divisor: float, stop: Callable[[], int] | None = None
    ) -> Gathered:
        """Adds the gradients of this rank's micro-batches; the result is summed over ranks.

        `stop` says which signal this process has been sent, for all ranks to stop after the same step.
        """
        if self._copies:
            write_copies(self._maps, torch.bfloat16)
        if not self._settled:
            self._settle(parts[0])
        loss, total, count = 0.0, [0.0] * LEVEL_BUCKETS, [0] * LEVEL_BUCKETS
        for index, inputs in enumerate(parts):
            with self._exchange(index == len(parts) - 1):
                with self._autocast:
                    loss_sum, ce_B = self._loss(inputs, self._ranks.size / divisor)
                loss_sum.backward()
            loss += float(loss_sum.detach()) / self._ranks.size
            add_by_level(total, count, inputs.level_B, ce_B)
        sent = (0 if stop is None else stop()) or self._ranks.orphaned
        signals = [float(sent == number) for number in SIGNALS]
        summed = self._ranks.sum(np.array([loss, *total, *count, *signals], dtype=np.float64))
        levels, counts, stops = np.split(summed[1:], [LEVEL_BUCKETS, 2 * LEVEL_BUCKETS])
        agreed = next((number for number, ranks in zip(SIGNALS, stops, strict=True) if ranks), 0)
        return Gathered(float(summed[0]), levels.tolist(), [int(c) for c in counts], agreed)

    def _settle(self, inputs: Inputs) -> None:
        """A pass whose gradients are thrown away, before the first step.

        Replicas sum their gradients in buckets, which `DistributedDataParallel` lays out anew after its first backward
        pass, in the order in which gradients got ready. Where a number lies says in which order gloo and NCCL add more
        than two ranks' numbers: without this pass the first step after a resume would be summed in another order than
        the same step of a run that was never stopped.
        """
        with self._autocast:
            loss_sum, _ = self._loss(inputs, 0.0)
        loss_sum.backward()
        self.optimizer.zero_grad(set_to_none=True)
        self._settled = True

    def update(self, rate: float, apply: bool = True) -> float:
        """One optimizer step at a learning rate unless the gradient is not finite; its norm before clipping.

        `apply=False` only clears the gradients. The norm tells whether the weights have changed.
        """
        norm = gradient_norm(self._trained, self._clip)
        if apply and math.isfinite(norm):
            set_learning_rate(self.optimizer, rate)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Replicas exchange gradients with a step's last micro-batch, shards with each, which keeps them small."""
        if last or not isinstance(self._loss, DistributedDataParallel):
            return nullcontext()
        return self._loss.no_sync()
