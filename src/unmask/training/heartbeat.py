"""Which of a run's processes live: a beat a second in the launcher's store, and what to say of one that stops.

    beat = Heartbeat(rank, size, names)          # in every rank; a thread beats
    beat.dead()                                  # after a collective failed: {2: "process 4711 on node7"}
    beat.claim("epitaph")                        # True on the first rank that asks: that one speaks
    beat.orphaned                                # the launcher is gone
    beat.stop(failed=False)

A rank that leaves says so in the store, so that those who look after it do not take it for dead; one that leaves after
an error also says which ranks have died, which the others learn with their next beat. The launcher (`torchrun`) is gone
where the process that started this one is no longer its parent, or where the store no longer answers, which lives in
the launcher of the first host. Without a store ranks of one host still see each other's processes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch.distributed as dist

from unmask.terminal import say

BEAT_SECONDS = 1.0
# How long a rank may be stuck beside one that is gone once the launcher has sent SIGTERM; after 30 seconds it kills.
STUCK_SECONDS = 15.0
OVER = "over"  # the key under which the first rank that leaves after an error says which have died


@dataclass(frozen=True)
class Name:
    """A rank's process. `place`: equal where process numbers mean the same processes; None where unknown."""

    process: int
    host: str
    place: str | None

    @classmethod
    def own(cls) -> Name:
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            place: str | None = f"{boot}/{os.readlink('/proc/self/ns/pid')}"
        except OSError:
            place = None
        return cls(os.getpid(), socket.gethostname(), place)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    @property
    def lives(self) -> bool | None:
        """Whether the process is there; None where it runs elsewhere."""
        if self.place is None or self.place != Name.own().place:
            return None
        try:
            return psutil.Process(self.process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.Error:
            return False


def epitaph(lost: dict[int, Name]) -> str:
    """The line about ranks that are gone; of one whose process is still there, that it does not answer."""
    gone = [f"rank {rank} ({name}) {'does not answer' if name.lives else 'died'}" for rank, name in lost.items()]
    return f"{', '.join(gone)}, so all ranks stop; start again with --resume, on any number of ranks"


class Heartbeat:
    """Tells the others that this process lives, and finds out who of them does not.

    A collective can miss that its partner is gone, and then never returns. So the thread that beats also listens: once
    the launcher has sent SIGTERM and another's beat stands still, it ends this process with the line that
    `Ranks.watched` would have raised.
    """

    def __init__(self, rank: int, size: int, names: list[Name]) -> None:
        """names: of all ranks."""
        self._rank, self._size, self._names = rank, size, names
        self._store = cast(Any, dist.distributed_c10d._get_default_store())
        elastic = os.environ.get("TORCHELASTIC_RUN_ID") is not None
        self._parent = os.getppid() if elastic else None  # others may start ranks and leave them alone
        self._kept_by_rank = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"  # the store, by rank 0
        self._lost: list[int] | None = None  # as others have found: which have died, once one has left after an error
        self._store_gone = self._leaving = False
        self.orphaned = False  # what the loop asks after each step
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
        asked_at: float | None = None
        beats: dict[int, tuple[int, float]] = {}
        while not self._done.wait(BEAT_SECONDS):
            if self._parent is not None and os.getppid() != self._parent and not self.orphaned:
                self.orphaned, self._store_gone = True, self._store_gone or not answers()
            if self._store_gone:
                self._look_for_processes()
                continue
            now, lost = time.monotonic(), {}
            try:
                store.add(f"beat/{self._rank}", 1)
                self._learn(store)
                if asked_at is None and (self._asked_to_stop() or self.orphaned):
                    asked_at = now
                if asked_at is not None:
                    for rank in range(self._size):
                        before, since = beats.get(rank, (-1, now))
                        beat = store.add(f"beat/{rank}", 0)
                        beats[rank] = (beat, now if beat != before else since)
                    still = [rank for rank, (_, since) in beats.items() if now - since > STUCK_SECONDS]
                    lost = self._without_farewell(store, still)
            except RuntimeError:
                self.orphaned = self._store_gone = True
            if lost and not self._leaving:
                self._leave(lost)
                if self.claim("epitaph"):
                    say(f"unmask: error: {epitaph(lost)}")
                os._exit(2)

    def _asked_to_stop(self) -> bool:
        try:
            return signal.SIGTERM in self._signals.recv(1024)
        except BlockingIOError:
            return False

    def _look_for_processes(self) -> None:
        gone = [rank for rank, name in enumerate(self._names) if rank != self._rank and name.lives is False]
        if gone and self._lost is None:
            self._lost = gone

    def _without_farewell(self, store: Any, ranks: list[int]) -> dict[int, Name]:
        """Those that have not said goodbye, and so have died."""
        return {rank: self._names[rank] for rank in ranks if not store.check([f"left/{rank}"])}

    def _learn(self, store: Any) -> None:
        if self._lost is None and store.check([OVER]):
            self._lost = json.loads(store.get(OVER))

    def dead(self) -> dict[int, Name]:
        """The ranks that stopped without a farewell. Takes three beats, unless another has found out before."""
        others = [rank for rank in range(self._size) if rank != self._rank]
        until, before = time.monotonic() + 3 * BEAT_SECONDS, self._beats(others)
        while self._lost is None and time.monotonic() < until:
            time.sleep(0.1)
        if self._lost is None and (after := self._beats(others)) and before:
            try:
                still = [rank for rank in others if before[rank] == after[rank]]
                lost = self._without_farewell(self._store, still)
                # One that lives may have been kept from beating by a busy machine: no cause beside one that is gone.
                return {rank: name for rank, name in lost.items() if not name.lives} or lost
            except RuntimeError:
                self._store_gone = True
        if self._lost is None and self._store_gone and self._kept_by_rank:
            self._lost = [0]
        return {rank: self._names[rank] for rank in self._lost or ()}

    def _beats(self, ranks: list[int]) -> dict[int, int]:
        """How often each has beaten; empty where the store is gone."""
        try:
            if not self._store_gone:
                self._learn(self._store)
                return {rank: self._store.add(f"beat/{rank}", 0) for rank in ranks}
        except RuntimeError:
            self._store_gone = True
        return {}

    @property
    def failed(self) -> bool:
        """Whether another rank has left after an error, which that one says. As far as `dead` has seen."""
        return self._lost is not None

    def claim(self, what: str) -> bool:
        """Whether this rank is the first to ask, and so speaks; without the store, whether it is the first alive."""
        try:
            if not self._store_gone:
                return bool(self._store.add(what, 1) == 1)
        except RuntimeError:
            self._store_gone = True
        return self._rank == min(set(range(self._size)) - set(self._lost or ()))

    def _leave(self, lost: Iterable[int] | None) -> None:
        try:
            if not self._store_gone:
                self._store.set(f"left/{self._rank}", "")
                if lost is not None and self._store.add("leaves", 1) == 1:
                    self._store.set(OVER, json.dumps(sorted(lost)))
        except RuntimeError:
            self._store_gone = True

    def stop(self, failed: bool, lost: Iterable[int] = ()) -> None:
        """The farewell. failed: after an error; lost: the ranks that have died."""
        self._leaving = True
        self._leave(lost if failed else None)
        if failed and (self._kept_by_rank or self._store_gone):
            # The store goes with the process that keeps it, and without one a process that leaves looks like one that
            # died: the others first have to learn what happened.
            self._done.wait(3 * BEAT_SECONDS)
        self._done.set()
        self._thread.join()
        signal.set_wakeup_fd(self._wakeup)


def answers() -> bool:
    """Whether something listens where the launcher's store was: asking a store that is gone prints its stack."""
    try:
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        socket.create_connection(place, timeout=BEAT_SECONDS).close()
        return True
    except (KeyError, ValueError, OSError):
        return False
