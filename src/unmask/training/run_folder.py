"""A run directory: resolved recipe, versions, metrics, checkpoints; locked against a second writer.

    run = RunFolder.open(recipe, resume=False)

A new run refuses a folder that holds one, or checkpoints of one; a resumed run refuses a recipe that differs, and data
or a base that are not those it was begun with, and lists what does. Every file in it is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from unmask.errors import UserError
from unmask.files import reading, write_whole
from unmask.model.checkpoints import checkpoints
from unmask.model.folder import read_config
from unmask.provenance import versions
from unmask.training.checkpoint_files import clear_partials, id_record, refuse_foreign, run_of
from unmask.training.recipe import RECORDED, differences
from unmask.training.recipe_fields import BUDGETS, Recipe, fork_of
from unmask.training.record import PATHS, RECIPE, record_of
from unmask.training.record import written as written_text

VERSIONS, LOCK = "versions.json", ".lock"
RUN = "run.json"  # the run's id, which its checkpoints carry too
TOKENIZER_SUM = "tokenizer_sha256"
ALREADY = "{} already holds a run; add --resume to go on with it, or give another --out"
# What may change when a run goes on: none of it changes the samples, or what is computed of them.
FREE_ON_RESUME = (
    ("out", "data", "log_every", "max_skipped", "checkpoint.every", "checkpoint.keep", "wandb", "device", "threads")
    + ("profile", "checkpoint.at", "checkpoint.verify")
    + ("micro_batch", "compile", "activation_checkpointing", "parallel.kind", "parallel.shard")  # rounding alone
    + ("precision",)  # as far as `precision.py` lets it
)


class RunFolder:
    """The folder of one run while it is being written."""

    def __init__(self, path: Path, lock: IO[str], run_id: str, lines: list[str]) -> None:
        self.path, self.id = path, run_id
        self.lines = lines  # what a person should know of it
        self._lock = lock

    @classmethod
    def open(cls, recipe: Recipe, resume: bool, records: dict[str, Any] | None = None) -> RunFolder:
        """Makes or re-opens `recipe.out`. Raises `UserError` where that would mix two runs.

        records: JSON files that tell what the run starts from; a resumed run must find the same checksums.
        """
        path, made, lock = Path(recipe.out), False, None
        try:
            made = not path.exists()
            if (path / RECIPE).is_file() and not resume:
                raise UserError(ALREADY.format(path))
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / LOCK).open("a", encoding="utf-8")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clear_partials(path)
            if (path / RECIPE).is_file():
                made = False
                refuse_changes(recipe, read_settings(path), path)
                run_id, lines = go_on(path, records or {})
            else:
                refuse_foreign(path, None, new=True)
                run_id, lines = begin(path, recipe, records or {}), []
            return cls(path, lock, run_id, lines)
        except BlockingIOError as error:
            raise UserError(f"{path} is being written by another process; wait for it or give another --out") from error
        except (OSError, UserError) as error:
            if lock is not None:
                lock.close()
            if made:
                shutil.rmtree(path, ignore_errors=True)
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} cannot be written: {error.strerror}; give another --out") from error

    def close(self) -> None:
        self._lock.close()


def begin(path: Path, recipe: Recipe, records: Mapping[str, Any]) -> str:
    """Writes what a new run is, the recipe last: with it the run is there. Returns its id."""
    for name, record in records.items():
        write_whole(path / name, as_json(record))
    run_id = secrets.token_hex(8)
    write_whole(path / RUN, id_record(run_id) + "\n")
    write_whole(path / VERSIONS, as_json(run_versions()))
    write_whole(path / RECIPE, written_text(recipe, []))
    return run_id


def go_on(path: Path, records: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The id of a run that is there, and what to tell of it. Raises `UserError` where it began with something else.

    What an earlier version did not record is recorded now, once nothing speaks against it.
    """
    run_id = read_id(path)
    refuse_foreign(path, run_id, new=False)
    lines, later = [], {}
    for name, record in records.items():
        before = read_json(path / name, "put back its own, or delete it to have it recorded anew") or {}
        then, now = checksums(before), checksums(record)
        if differing := [key for key in then if then[key] != now.get(key)]:
            raise changed(path, f"{in_words(differing)} (see {name})")
        if missing := [key for key in now if key not in then]:
            refuse_other_tokenizer(path, record)
            later[name] = record
            lines.append(f"{path} did not record what it was begun with, now {name} does: {in_words(missing)}")
    for name, record in later.items():
        write_whole(path / name, as_json(record))
    if run_id is None:
        run_id = secrets.token_hex(8)
        write_whole(path / RUN, id_record(run_id) + "\n")
    try:
        known = read_json(path / VERSIONS, "")
    except UserError:
        known = None
    if known is None:
        write_whole(path / VERSIONS, as_json(run_versions()))
        lines.append(f"{path / VERSIONS} was missing or damaged: it now holds the versions of today")
    return run_id, lines


def read_id(path: Path) -> str | None:
    """The id of the run in a folder; None where an earlier version began it."""
    carried = {run_id for folder in checkpoints(path) if (run_id := run_of(folder)[1]) is not None}
    mend = "put back its own" + (f", which by its checkpoints is {id_record(carried.pop())}" if carried else "")
    record = read_json(path / RUN, mend)
    if record is None:
        return None
    if not isinstance(record.get("id"), str):
        raise UserError(f"{path / RUN} is damaged (it has no id); {mend}")
    return str(record["id"])


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of the run in a folder. Raises `UserError` where they cannot be read."""
    return record_of(path).settings


def read_json(path: Path, mend: str) -> dict[str, Any] | None:
    """The JSON object in a file of a run folder; None without a file. Raises `UserError` where it is damaged."""
    try:
        with reading():
            content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({reason}); {mend}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (it holds no JSON object); {mend}")
    return content


def refuse_other_tokenizer(path: Path, record: Mapping[str, Any]) -> None:
    """Raises `UserError` where the newest checkpoint was trained with another tokenizer than the data's now."""
    now = record.get(TOKENIZER_SUM)
    for folder in reversed(checkpoints(path)):
        try:
            then = read_config(folder).get("tokenizer_hash")
        except UserError:
            continue  # damaged: another one tells
        if None not in (then, now) and then != now:
            raise changed(path, f"tokenizer (see {folder})")
        return


def changed(path: Path, what: str) -> UserError:
    return UserError(f"what {path} started from has changed: {what}; put back its own, or give another --out")


def in_words(keys: list[str]) -> str:
    """``tokenizer_sha256`` and ``train.sha256`` are `tokenizer, train data`."""
    return ", ".join(key.replace(".sha256", " data").replace("_sha256", "") for key in keys)


def as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2) + "\n"


def look(recipe: Recipe, resume: bool) -> bool:
    """Whether `recipe.out` holds a run. Raises `UserError` as `RunFolder.open` would, and writes nothing."""
    path = Path(recipe.out)
    if not (path / RECIPE).is_file():
        return False
    if not resume:
        raise UserError(ALREADY.format(path))
    refuse_changes(recipe, read_settings(path), path)
    return True


def refuse_changes(recipe: Recipe, before: dict[str, Any], path: Path) -> None:
    """Raises `UserError` listing each setting that differs from the run's own."""
    now, then = flat(recipe.to_dict()), known_settings(before)
    # What lies at a path is known by its sums (`records`), and whether a run can be made longer by its schedule.
    paths = [name for name in PATHS if bool(now.get(name)) == bool(then.get(name))]
    if recipe.fork and then["fork"] and recipe.forked_at != fork_of(then["fork"])[1]:
        paths.remove("fork")
    if differing := differences(now, then, (now.keys() | then.keys()) - {*FREE_ON_RESUME, *BUDGETS, *paths}):
        raise UserError(
            f"{path} was started with another recipe: {differing}; resume with its own or give another --out"
        )


def known_settings(before: dict[str, Any]) -> dict[str, Any]:
    """A record's settings by dotted key; one that it does not know had what is now the default."""
    then = flat({k: v for k, v in before.items() if k not in RECORDED})
    return {**flat(Recipe(data="-", out="-", steps=1).to_dict()), "steps": 0, **then}


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


def run_versions() -> dict[str, str | int]:
    """What the numbers of a run may depend on beside its recipe."""
    threads = {"threads": torch.get_num_threads(), "cpus": os.cpu_count() or 0}
    return {**versions(("torch", "numpy")), **threads}
