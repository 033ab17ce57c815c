"""Tables of credits, of every way and seed: parts of some items each, scored side by side and kept one by one.

    tables = tables_of(place, [Table("headword-arm-0-test", folder, pool.test, "drop", True), ...], scales, draws)
    tables["headword-arm-0-test"].credit_NC            # float [N, columns]

A part is a stage of the experiment's folder, known by its model's weights and its items: it is written whole as soon as
it is there, and what is there is not scored again. With `--jobs 2` two processes score parts, each with `--threads` of
its own; the figures are those of one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.errors import UserError
from unmask.experiments.guidance.items import Item, digest
from unmask.experiments.guidance.scores import credits
from unmask.experiments.workplace import Workplace
from unmask.files import file_sha256
from unmask.model.folder import WEIGHTS, Model, load
from unmask.terminal import say

AT_ONCE = 200  # items of a part


@dataclass(frozen=True)
class Table:
    """A model, items, and how it is asked: what stands for the prompt, and whether an end follows each answer."""

    name: str
    path: Path
    items: Sequence[Item]
    view: str
    ends: bool


@dataclass(frozen=True)
class Part:
    """Some items of a table; `facts` tell it from one of the same name with another model or other items."""

    table: Table
    facts: dict[str, str]
    scales: Sequence[float]
    draws: int
    device: str

    def score(self) -> dict[str, Any]:
        """{"credits": rows, "seconds": of this process}."""
        began, table = time.monotonic(), self.table
        model = opened(str(table.path), self.facts["weights"], self.device)
        credit_NC = credits(model, table.items, self.scales, self.draws, table.view, table.ends)
        rows = [[round(float(value), 4) for value in row] for row in credit_NC]
        return {"credits": rows, "seconds": round(time.monotonic() - began, 3)}


@dataclass(frozen=True)
class Scored:
    credit_NC: np.ndarray  # [N, columns]
    seconds: float  # of the processes that scored its parts


class _NotYetError(Exception):
    """A part is not kept."""


def tables_of(place: Workplace, tables: Sequence[Table], scales: Sequence[float], draws: int) -> dict[str, Scored]:
    """By the tables' names. Raises `UserError` where a process that scores is killed."""
    parts = {table.name: list(parts_of(table, scales, draws, place.settings.device)) for table in tables}
    known: dict[str, Any] = {part.table.name: kept(place, part) for own in parts.values() for part in own}
    missing = [part for own in parts.values() for part in own if known[part.table.name] is None]
    for done, (part, value) in enumerate(scored(missing, place.settings.jobs, place.settings.threads), 1):
        name = part.table.name
        known[name] = place.kept(name, partial(dict, value), **part.facts)
        say(f"guidance: scored {name} in {value['seconds']:.0f} s, {done} of {len(missing)}")
    found = {name: [known[part.table.name] for part in own] for name, own in parts.items()}
    return {
        name: Scored(
            np.array([row for value in values for row in value["credits"]]),
            round(sum(value["seconds"] for value in values), 3),
        )
        for name, values in found.items()
    }


def parts_of(table: Table, scales: Sequence[float], draws: int, device: str) -> Iterator[Part]:
    weights = file_sha256(table.path / WEIGHTS)
    for start in range(0, len(table.items), AT_ONCE):
        items = table.items[start : start + AT_ONCE]
        facts = {"weights": weights, "items": digest(items)}
        yield Part(replace(table, name=f"{table.name}-{start}", items=items), facts, scales, draws, device)


def kept(place: Workplace, part: Part) -> dict[str, Any] | None:
    """What was scored before; None where nothing was."""

    def absent() -> Any:
        raise _NotYetError

    try:
        value: dict[str, Any] = place.kept(part.table.name, absent, **part.facts)
    except _NotYetError:
        return None
    return value


@lru_cache(maxsize=2)
def opened(path: str, weights: str, device: str) -> Model:
    """weights: their sum, so that another model at the same path is another one."""
    return load(path, device)


# ---------------------------------------------------------------------- processes


def scored(parts: Sequence[Part], jobs: int, threads: int) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Each part with its credits, as they come. One job needs no process of its own."""
    if min(jobs, len(parts)) <= 1:
        for part in parts:
            yield part, part.score()
        return
    pool = ProcessPoolExecutor(
        min(jobs, len(parts)), multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
    )
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is for the parent, which ends them
        try:
            waiting = {pool.submit(Part.score, part): part for part in parts}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process that scores was killed, perhaps for want of memory; give --resume, and --jobs 1 if it is again"
        ) from error
    except BaseException:
        for process in multiprocessing.active_children():  # else they would first end what they are at
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
