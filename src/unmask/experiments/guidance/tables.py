"""Tables of credits, of every way and seed: parts of some items each, scored side by side and kept one by one.

    tables = tables_of(place, [Table("headword-arm-0-test", folder, pool.test, "drop", True), ...], scales, draws)
    tables["headword-arm-0-test"].credit_NC            # float [N, columns]

A part is a stage of the experiment's folder, known by its model's weights and its items: it is written whole as soon as
it is there, and what is there is not scored again. With `--jobs 2` two processes score parts, each with `--threads` of
its own; the figures are those of one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.experiments.guidance.items import Item, digest
from unmask.experiments.guidance.scores import credits
from unmask.experiments.workplace import Ask, Workplace
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
class Scored:
    credit_NC: np.ndarray  # [N, columns]
    seconds: float  # of the processes that scored its parts


def tables_of(place: Workplace, tables: Sequence[Table], scales: Sequence[float], draws: int) -> dict[str, Scored]:
    """By the tables' names. Raises `UserError` where a process that scores is killed."""
    parts = {table.name: list(parts_of(table)) for table in tables}
    how = (tuple(scales), draws, place.settings.device, place.settings.threads)
    asks = {part.name: Ask((part, facts["weights"], *how), facts) for own in parts.values() for part, facts in own}
    values = place.kept_each(score_part, asks)
    found = {name: [values[part.name] for part, _ in own] for name, own in parts.items()}
    return {
        name: Scored(
            np.array([row for value in own for row in value["credits"]]),
            round(sum(value["seconds"] for value in own), 3),
        )
        for name, own in found.items()
    }


def parts_of(table: Table) -> Iterator[tuple[Table, dict[str, str]]]:
    """Each part, and the facts that tell it from one of the same name with another model or other items."""
    weights = file_sha256(table.path / WEIGHTS)
    for start in range(0, len(table.items), AT_ONCE):
        items = table.items[start : start + AT_ONCE]
        yield replace(table, name=f"{table.name}-{start}", items=items), {"weights": weights, "items": digest(items)}


def score_part(
    part: Table, weights: str, scales: Sequence[float], draws: int, device: str, threads: int
) -> dict[str, Any]:
    """{"credits": rows, "seconds": of this process}."""
    torch.set_num_threads(threads)
    began = time.monotonic()
    model = opened(str(part.path), weights, device)
    credit_NC = credits(model, part.items, scales, draws, part.view, part.ends)
    rows = [[round(float(value), 4) for value in row] for row in credit_NC]
    seconds = round(time.monotonic() - began, 3)
    say(f"guidance: scored {part.name} in {seconds:.0f} s")
    return {"credits": rows, "seconds": seconds}


@lru_cache(maxsize=2)
def opened(path: str, weights: str, device: str) -> Model:
    """weights: their sum, so that another model at the same path is another one."""
    return load(path, device)
