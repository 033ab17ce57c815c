"""Which of a run's processes live: a beat a second in the launcher's store, and what to say of one that stops.

    beat = Heartbeat(rank, size, names)          # in every rank; a thread beats
    beat.dead()                                  # after a collective failed: {2: "process 4711 on node7"}
    beat.claim("epitaph")                        # True on the first rank that asks: that one speaks
    beat.orphaned                                # the launcher is gone
    beat.stop(failed=False)

A rank that leaves says so in the store, so that those who look after it do not take it for dead. The launcher
(`torchrun`) is gone where the process that started this one is no longer its parent, or where the store, which lives in
the launcher of the first host, no longer answers.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch.distributed as dist

from unmask.terminal import say

BEAT_SECONDS = 1.0
# How long a rank may be stuck beside one that is gone once the launcher has sent SIGTERM; after 30 seconds it kills.
STUCK_SECONDS = 15.0
LINGER_SECONDS = 5.0  # of a rank that keeps the store and has failed: the others still look into it
WELL, FAILED = b"well", b"failed"


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
        self._keeps_store = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self.orphaned = False
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
        told: float | None = None
        beats: dict[int, tuple[int, float]] = {}
        while not self._done.wait(BEAT_SECONDS):
            now = time.monotonic()
            try:
                store.add(f"beat/{self._rank}", 1)
                if self._parent is not None and os.getppid() != self._parent:
                    self._lose_launcher(store)
                if told is None and (self._asked_to_stop() or self.orphaned):
                    told = now
                if told is None:
                    continue
                for rank in range(self._size):
                    before, since = beats.get(rank, (-1, now))
                    beat = store.add(f"beat/{rank}", 0)
                    beats[rank] = (beat, now if beat != before else since)
                still = [rank for rank, (_, since) in beats.items() if now - since > STUCK_SECONDS]
                lost = self._without_farewell(store, still)
            except RuntimeError:
                if self._done.is_set():
                    return
                self._lose_launcher(None)
                return
            if lost and not self._done.is_set():
                self._leave(FAILED)
                if self.claim("epitaph"):
                    say(f"unmask: error: {epitaph(lost)}")
                os._exit(2)

    def _asked_to_stop(self) -> bool:
        try:
            return signal.SIGTERM in self._signals.recv(1024)
        except BlockingIOError:
            return False

    def _lose_launcher(self, store: Any) -> None:
        if self.orphaned or self._done.is_set():
            return
        self.orphaned = True
        try:
            speaks = self._rank == 0 if store is None else store.add("orphaned", 1) == 1
        except RuntimeError:
            speaks = self._rank == 0
        if speaks:
            try:
                say("the launcher is gone: stopping after this step")
            except OSError:
                pass  # its terminal may be gone with it

    def _without_farewell(self, store: Any, ranks: list[int]) -> dict[int, Name]:
        """Those that have not said goodbye, and so have died."""
        return {rank: self._names[rank] for rank in ranks if not store.check([f"left/{rank}"])}

    def dead(self) -> dict[int, Name]:
        """The ranks that stopped without a farewell. Takes three beats.

        Without the store those are named that can be seen to be gone: processes of this host, and the one that kept
        the store.
        """
        others = [rank for rank in range(self._size) if rank != self._rank]
        try:
            before = [self._store.add(f"beat/{rank}", 0) for rank in others]
            time.sleep(3 * BEAT_SECONDS)
            after = [self._store.add(f"beat/{rank}", 0) for rank in others]
            still = [rank for rank, old, new in zip(others, before, after, strict=True) if old == new]
            lost = self._without_farewell(self._store, still)
            # A process that lives may have been kept from beating by a busy machine: beside one that is gone, no cause.
            return {rank: name for rank, name in lost.items() if not name.lives} or lost
        except RuntimeError:
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
                return {0: self._names[0]}
            return {rank: self._names[rank] for rank in others if self._names[rank].lives is False}

    def failed(self) -> bool:
        """Whether another rank has left after an error, which it tells itself."""
        try:
            keys = [f"left/{rank}" for rank in range(self._size) if rank != self._rank]
            return any(self._store.check([key]) and self._store.get(key) == FAILED for key in keys)
        except RuntimeError:
            return False

    def claim(self, what: str) -> bool:
        """Whether this rank is the first to ask, and so speaks; without the store, whether it is the first alive."""
        try:
            return bool(self._store.add(what, 1) == 1)
        except RuntimeError:
            living = [rank for rank, name in enumerate(self._names) if rank == self._rank or name.lives is not False]
            keeper = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
            return self._rank == min(rank for rank in living if rank or not keeper)

    def _leave(self, how: bytes) -> None:
        try:
            self._store.set(f"left/{self._rank}", how)
        except RuntimeError:
            pass  # the store is gone

    def stop(self, failed: bool) -> None:
        """The farewell. `failed`: after an error."""
        self._done.set()
        self._thread.join()
        signal.set_wakeup_fd(self._wakeup)
        self._leave(FAILED if failed else WELL)
        if failed and self._keeps_store:
            self._linger()

    def _linger(self) -> None:
        until = time.monotonic() + LINGER_SECONDS
        waiting = set(range(1, self._size))
        try:
            while waiting and time.monotonic() < until:
                waiting = {rank for rank in waiting if not self._store.check([f"left/{rank}"])}
                time.sleep(0.1)
        except RuntimeError:
            pass
