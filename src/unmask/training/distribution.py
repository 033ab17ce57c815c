"""Ranks: one run on several processes, under `torchrun` on one host or many; one process needs none of it.

    torchrun --nproc-per-node 2 -m unmask train recipes/demo-mdm.yaml --out runs/mdm
    torchrun --nproc-per-node 8 -m unmask train RECIPE --parallel.kind fsdp --parallel.shard 4

Replicated weights (DDP) or sharded ones (FSDP2, `fully_shard`; with fewer ranks a shard than there are, hybrid: copies
side by side); gloo on CPUs, NCCL on CUDA. Samples and noise depend on (seed, sample index) alone, and each loss is
divided by the token count of the whole batch, so the number of ranks changes nothing but the order of float sums.

A rank beats once a second in the launcher's store. Where a collective fails, the others look whose beat has stopped;
where the launcher itself is gone, all stop after their step, saved, as on SIGTERM (`heartbeat.py`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from unmask.errors import SaidElsewhere, UserError
from unmask.model.transformer import Transformer
from unmask.training.heartbeat import Heartbeat, Name, epitaph
from unmask.training.recipe_fields import ParallelFields
from unmask.training.shared_memory import SharedSum, memory_place

T = TypeVar("T")
LAUNCHER_GONE = int(signal.SIGHUP)  # a stop like one by a signal
TIMEOUT = timedelta(minutes=10)  # of a collective: longer than any checkpoint's write


class Ranks:
    """The processes of a run. Alone (no `torchrun`) every method is the trivial one."""

    def __init__(self, device: torch.device) -> None:
        """Raises `UserError` where the processes do not find each other."""
        self.joined = "RANK" in os.environ and "WORLD_SIZE" in os.environ
        self.rank, self.size = from_environment() if self.joined else (0, 1)
        self.checkpoint_group: dist.ProcessGroup | None = None
        self._lost: list[int] = []  # ranks that were found to have died
        if not self.joined:
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
            # Apart from the default group: small CPU sums every step, and checkpoints written in the background.
            self._control = dist.new_group(backend="gloo", timeout=TIMEOUT)
            self.checkpoint_group = dist.new_group(backend="gloo", timeout=TIMEOUT)
            self._beat = Heartbeat(self.rank, self.size, self.all(Name.own()))
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"rank {self.rank} of {self.size} cannot join the others: {first_line(error)}; "
                "start all of them by torchrun"
            ) from error

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self.joined:
            return
        self._beat.stop(error is not None, self._lost)
        # After an error others may wait in a collective: leaving without farewell closes the connections and ends it.
        if error is None:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this rank writes and speaks."""
        return self.rank == 0

    @property
    def orphaned(self) -> int:
        """`LAUNCHER_GONE`, as if it were a signal, where this process's launcher is gone; else 0."""
        return LAUNCHER_GONE if self.joined and self._beat.orphaned else 0

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over ranks of float64 values, the same on all."""
        if self.size == 1:
            return values
        total = torch.from_numpy(values.astype(np.float64))
        dist.all_reduce(total, group=self._control)
        return total.numpy()

    def shared_sum(self) -> SharedSum | None:
        """Sums through shared memory, where all ranks have some in common; every rank calls it."""
        if self.size == 1:
            return None
        places = self.all(memory_place())
        if places[0] is None or len(set(places)) > 1:
            return None
        try:
            return SharedSum(self.rank, self.size, self._control)
        except OSError:
            return None

    def same(self, value: T) -> T:
        """Rank 0's value on every rank."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def all(self, value: T) -> list[T]:
        """Every rank's value, in their order, on every rank."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value, group=self._control)
        return values

    def together(self, work: Callable[[], T]) -> T:
        """Runs `work` on every rank. Where it raises `UserError` on any, all stop, and rank 0 says the reason."""
        if self.size == 1:
            return work()
        reason, result = None, None
        try:
            result = work()
        except UserError as error:
            reason = str(error)
        reasons = self.all(reason)
        at = next((rank for rank, why in enumerate(reasons) if why is not None), None)
        if at is not None:
            where = "" if reasons.count(reasons[at]) == self.size else f" (on rank {at})"
            raise UserError(f"{reasons[at]}{where}") if self.first else SaidElsewhere
        return result  # type: ignore[return-value]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turns the failure of a collective into one line, of one rank, that names the rank which is gone.

        A rank that has left after an error of its own has said that itself.
        """
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            if self.size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            if lost := self._beat.dead():
                self._lost = list(lost)
                raise UserError(epitaph(lost)) if self._beat.claim("epitaph") else SaidElsewhere from error
            if self._beat.failed:
                raise SaidElsewhere from error
            if self._beat.orphaned:
                line = f"the launcher is gone, and a collective failed ({first_line(error)}); start again with --resume"
                raise UserError(line) if self._beat.claim("epitaph") else SaidElsewhere from error
            raise


def first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")


def from_environment() -> tuple[int, int]:
    """This process's rank and the number of ranks, as a launcher has set them."""
    rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise UserError(f"RANK is {rank!r} of WORLD_SIZE {size!r}; start all ranks by torchrun, or unset both")
    return int(rank), int(size)


def share_of(k: np.ndarray, ranks: Ranks, micro_batch: int) -> list[np.ndarray]:
    """This rank's micro-batches of a step's samples `k`. Dealt in turn, so that ranks get micro-batches of like length.

    Raises `UserError` where ranks x micro-batch does not divide the batch.
    """
    micro = micro_batch or max(1, len(k) // ranks.size)
    if len(k) % (micro * ranks.size):
        over = f"{ranks.size} ranks" + (f" x micro_batch {micro}" if micro_batch else "")
        raise UserError(
            f"batch_size {len(k)} does not divide by {over}; change batch_size, micro_batch or the number of ranks"
        )
    return list(k.reshape(-1, micro)[ranks.rank :: ranks.size])


def shard(network: Transformer, fields: ParallelFields, ranks: Ranks) -> bool:
    """Shards the network's parameters over the ranks where the recipe says so; whether it did."""
    if not ranks.joined or fields.kind != "fsdp":
        return False
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    size = fields.shard or ranks.size
    if size < 1 or ranks.size % size:
        raise UserError(f"parallel.shard {fields.shard} does not divide {ranks.size} ranks; give a divisor, or 0: all")
    device = network.device.type
    if size == ranks.size:
        mesh = init_device_mesh(device, (size,), mesh_dim_names=("shard",))
    else:
        mesh = init_device_mesh(device, (ranks.size // size, size), mesh_dim_names=("replicate", "shard"))
    for layer in network.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)
    # The head runs after `hidden` in the same step: the root keeps its own weights whole until the backward pass.
    register_fsdp_forward_method(network, "hidden")
    return True


def reshard(network: Transformer) -> None:
    """Gives up gathered weights: after a forward pass without a backward one, the root of a sharded network has them.

    While they are gathered `network.parameters()` are not those that the optimizer knows.
    """
    for module in network.modules():
        if hasattr(module, "reshard"):  # an `FSDPModule`
            cast(Any, module).reshard()
