"""Ranks: one run on several processes, under `torchrun` on one host or many; one process needs none of it.

    torchrun --nproc-per-node 2 -m unmask train recipes/demo-mdm.yaml --out runs/mdm
    torchrun --nproc-per-node 8 -m unmask train RECIPE --parallel.kind fsdp --parallel.shard 4

Replicated weights (DDP) or sharded ones (FSDP2, `fully_shard`; with fewer ranks a shard than there are, hybrid: copies
side by side); gloo on CPUs, NCCL on CUDA. Samples and noise depend on (seed, sample index) alone, and each loss is
divided by the token count of the whole batch, so the number of ranks changes nothing but the order of float sums.

A rank beats once a second in the launcher's store. Where a collective fails, the others look whose beat has stopped.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from unmask.errors import SaidElsewhere, UserError
from unmask.model.transformer import Transformer
from unmask.training.recipe import ParallelFields
from unmask.training.shared_memory import SharedSum, memory_place

T = TypeVar("T")
BEAT_SECONDS = 1.0
# How long a rank may be stuck beside one that is gone once the launcher has sent SIGTERM; after 30 seconds it kills.
STUCK_SECONDS = 15.0
TIMEOUT = timedelta(minutes=10)  # of a collective: longer than any checkpoint's write


class Ranks:
    """The processes of a run. Alone (no `torchrun`) every method is the trivial one."""

    def __init__(self, device: torch.device) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.size = int(os.environ.get("WORLD_SIZE", 1))
        self.joined = "RANK" in os.environ and "WORLD_SIZE" in os.environ
        self.checkpoint_group: dist.ProcessGroup | None = None
        if not self.joined:
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        # Apart from the default group: small CPU sums every step, and checkpoints written in the background.
        self._control = dist.new_group(backend="gloo", timeout=TIMEOUT)
        self.checkpoint_group = dist.new_group(backend="gloo", timeout=TIMEOUT)
        self._beat = Heartbeat(self.rank, self.size)

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.joined:
            return
        self._beat.stop()
        # After an error others may wait in a collective: leaving without farewell closes the connections and ends it.
        if error is None:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this rank writes and speaks."""
        return self.rank == 0

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
        places: list[str | None] = [None] * self.size
        dist.all_gather_object(places, memory_place(), group=self._control)
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
        found: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(found, value, group=self._control)
        return found

    def together(self, work: Callable[[], T]) -> T:
        """Runs `work` on every rank. Where it raises `UserError` on any, all stop, and rank 0 says the reason."""
        if self.size == 1:
            return work()
        reason, result = None, None
        try:
            result = work()
        except UserError as error:
            reason = str(error)
        reasons: list[str | None] = [None] * self.size
        dist.all_gather_object(reasons, reason, group=self._control)
        at = next((rank for rank, found in enumerate(reasons) if found is not None), None)
        if at is not None:
            where = "" if reasons.count(reasons[at]) == self.size else f" (on rank {at})"
            raise UserError(f"{reasons[at]}{where}") if self.first else SaidElsewhere
        return result  # type: ignore[return-value]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turns the failure of a collective into one line that names the rank which is gone."""
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            if self.size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            lost = self._beat.silent()
            if not lost:
                raise
            raise UserError(epitaph(lost)) if self._beat.speaks(lost) else SaidElsewhere from error


def epitaph(lost: dict[int, str]) -> str:
    gone = ", ".join(f"rank {rank} ({who})" for rank, who in lost.items())
    return f"{gone} died, so all ranks stop; start again with --resume, on any number of ranks"


class Heartbeat:
    """Tells the others that this process lives, and who of them does not.

    A collective can miss that its partner is gone, and then never returns. So the thread that beats also listens: once
    the launcher has sent SIGTERM and another's beat stands still, it ends this process with the line that
    `Ranks.watched` would have raised.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._store = cast(Any, dist.distributed_c10d._get_default_store())
        self._store.set(f"who/{rank}", f"process {os.getpid()} on {socket.gethostname()}")
        self._done = threading.Event()
        self._store.add(f"beat/{rank}", 1)
        # The interpreter writes a signal's number here at once, whatever the main thread is waiting for.
        self._signals, sends = socket.socketpair()
        for end in (self._signals, sends):
            end.setblocking(False)
        self._sends, self._wakeup = sends, signal.set_wakeup_fd(sends.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._run, args=(self._store.clone(),), daemon=True)
        self._thread.start()

    def _run(self, store: Any) -> None:
        told, beats = None, {rank: (-1, time.monotonic()) for rank in range(self._size) if rank != self._rank}
        while not self._done.wait(BEAT_SECONDS):
            now = time.monotonic()
            if told is None and self._asked_to_stop():
                told = now
            try:
                store.add(f"beat/{self._rank}", 1)
                for rank, (before, _) in beats.items():
                    if (beat := store.add(f"beat/{rank}", 0)) != before:
                        beats[rank] = beat, now
                still = [rank for rank, (_, since) in beats.items() if now - since > STUCK_SECONDS]
                dead = [rank for rank in still if not self._left(store, rank)]
                lost = {rank: store.get(f"who/{rank}").decode() for rank in dead}
            except RuntimeError:
                return  # the launcher and its store are gone
            if lost and told is not None and now - told > STUCK_SECONDS and not self._done.is_set():
                if self.speaks(lost):
                    print(f"unmask: error: {epitaph(lost)}", file=sys.stderr, flush=True)
                os._exit(2)

    def _asked_to_stop(self) -> bool:
        try:
            return signal.SIGTERM in self._signals.recv(1024)
        except BlockingIOError:
            return False

    @staticmethod
    def _left(store: Any, rank: int) -> bool:
        """Whether a rank has said goodbye, rather than died."""
        return bool(store.check([f"left/{rank}"]))

    def speaks(self, lost: dict[int, str]) -> bool:
        """Whether this is the first of the ranks that are left."""
        return self._rank == min(set(range(self._size)) - set(lost))

    def silent(self) -> dict[int, str]:
        """The ranks whose beat stands still, with their process and host. Takes three beats."""
        try:
            before = [self._store.add(f"beat/{rank}", 0) for rank in range(self._size)]
            time.sleep(3 * BEAT_SECONDS)
            after = [self._store.add(f"beat/{rank}", 0) for rank in range(self._size)]
            still = [rank for rank in range(self._size) if before[rank] == after[rank] and rank != self._rank]
            return {rank: self._store.get(f"who/{rank}").decode() for rank in still}
        except RuntimeError:
            return {}

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        signal.set_wakeup_fd(self._wakeup)
        try:
            self._store.set(f"left/{self._rank}", "")
        except RuntimeError:
            pass  # the launcher and its store are gone


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
    size = fields.shard or ranks.size
    if size < 1 or ranks.size % size:
        raise UserError(f"parallel.shard {fields.shard} does not divide {ranks.size} ranks; give a divisor, or 0: all")
    device = network.embedding.weight.device.type
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
