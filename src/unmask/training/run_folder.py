"""A run directory: resolved recipe, versions, metrics, checkpoints; locked against a second writer.

    run = RunFolder.open(recipe, resume=False)

A new run refuses a folder that holds one; a resumed run refuses a recipe that differs, and lists what does.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import yaml

from unmask._version import __version__
from unmask.errors import UserError
from unmask.training.recipe import BUDGETS, RECORDED, Recipe
from unmask.training.record import PATHS, RECIPE
from unmask.training.record import written as written_text

VERSIONS, METRICS, LOCK = "versions.json", "metrics.jsonl", ".lock"
ALREADY = "{} already holds a run; add --resume to go on with it, or give another --out"
# What may change when a run goes on: none of it changes the samples, or what is computed of them.
FREE_ON_RESUME = (
    ("out", "data", "log_every", "max_skipped", "checkpoint.every", "checkpoint.keep", "wandb", "device", "threads")
    + ("profile",)
    + ("micro_batch", "compile", "activation_checkpointing", "parallel.kind", "parallel.shard")  # rounding alone
)


class RunFolder:
    """The folder of one run while it is being written."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, recipe: Recipe, resume: bool, records: dict[str, Any] | None = None) -> RunFolder:
        """Makes or re-opens `recipe.out`. Raises `UserError` where that would mix two runs.

        records: JSON files that tell what the run starts from; a resumed run must find the same checksums.
        """
        path = Path(recipe.out)
        written = path / RECIPE
        new = not path.exists()
        try:
            if written.is_file() and not resume:
                raise UserError(ALREADY.format(path))
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / LOCK).open("a", encoding="utf-8")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if written.is_file():
                refuse_changes(recipe, yaml.safe_load(written.read_text(encoding="utf-8")), path)
                for name, record in (records or {}).items():
                    if checksums(json.loads((path / name).read_text(encoding="utf-8"))) != checksums(record):
                        raise UserError(
                            f"what {path} started from has changed: its data or its init are not those of {name}; "
                            "put them back, or give another --out"
                        )
            else:
                for name, record in (records or {}).items():
                    (path / name).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                partial = written.with_suffix(".partial")
                partial.write_text(written_text(recipe, []), encoding="utf-8")
                partial.replace(written)
                (path / VERSIONS).write_text(json.dumps(versions(), indent=2) + "\n", encoding="utf-8")
        except BlockingIOError as error:
            raise UserError(f"{path} is being written by another process; wait for it or give another --out") from error
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{written} is damaged; put back its own, or give another --out") from error
        except OSError as error:
            if new:
                shutil.rmtree(path, ignore_errors=True)
            raise UserError(f"{path} cannot be written: {error.strerror}; give another --out") from error
        return cls(path, lock)

    def close(self) -> None:
        self._lock.close()


def look(recipe: Recipe, resume: bool) -> bool:
    """Whether `recipe.out` holds a run. Raises `UserError` as `RunFolder.open` would, and writes nothing."""
    path = Path(recipe.out)
    if not (path / RECIPE).is_file():
        return False
    if not resume:
        raise UserError(ALREADY.format(path))
    refuse_changes(recipe, yaml.safe_load((path / RECIPE).read_text(encoding="utf-8")), path)
    return True


def refuse_changes(recipe: Recipe, before: dict[str, Any], path: Path) -> None:
    """Raises `UserError` listing each setting that differs from the run's own."""
    if not isinstance(before, dict):
        raise UserError(f"{path / RECIPE} is damaged: it holds no settings; put back its own, or give another --out")
    now, then = flat(recipe.to_dict()), flat({k: v for k, v in before.items() if k not in RECORDED})
    # A key that the run's recipe does not know had what is now the default.
    then = {**flat(Recipe(data="-", out="-", steps=1).to_dict()), "steps": 0, **then}
    # What lies at a path is known by its sums (`records`), and whether a run can be made longer by its schedule.
    paths = [name for name in PATHS if bool(now.get(name)) == bool(then.get(name))]
    differing = [
        f"{name} was {then.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name) and name not in (*FREE_ON_RESUME, *BUDGETS, *paths)
    ]
    if differing:
        raise UserError(
            f"{path} was started with another recipe: {'; '.join(differing)}; resume with its own or give another --out"
        )


def checksums(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flat(record).items() if name.endswith("sha256")}


def flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    out: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def versions() -> dict[str, str | int]:
    """What the numbers of a run may depend on beside its recipe."""
    return {
        "unmask": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count() or 0,
    }
