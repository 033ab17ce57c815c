"""The checkpoints of a run, and the list by which each is known to be whole.

    for folder in checkpoints(Path("runs/x")):          # oldest first
        print(folder.name, flaw(folder) or "whole")

``train_state/files.json``, written last, names the size and SHA-256 of every other file, the run that the checkpoint is
of, and a sum over itself. Lists of before have sizes alone. Here, and not with the training that writes them, since
`unmask.load` reads checkpoints too.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from unmask.errors import UserError
from unmask.files import file_sha256, reading

CHECKPOINTS = "checkpoints"
FILES = "train_state/files.json"
SCHEMA_VERSION = 2  # of the list
STEP = re.compile(r"step-(\d+)")


class Sum(NamedTuple):
    """What a file must be."""

    size: int  # bytes
    sha256: str | None  # None in a list of before


@dataclass(frozen=True)
class FileList:
    """A checkpoint's files by name, ``/`` between folders, and the id of its run (None: of an earlier version)."""

    files: dict[str, Sum]
    run: str | None = None

    @property
    def has_sums(self) -> bool:
        return all(entry.sha256 is not None for entry in self.files.values())


class Damaged(Exception):
    """A list that is missing, or not as it was written; the message says which."""


def checkpoints(run: Path) -> list[Path]:
    """Checkpoints, oldest first. They appear under their name when whole; a disk may have lost some of it since.

    Anything else that lies there (a file, a folder of another name, one that is empty) is none. Raises `UserError`
    where the folder may not be read.
    """
    try:
        with reading(), os.scandir(run / CHECKPOINTS) as entries:
            names = [e.name for e in entries if STEP.fullmatch(e.name) and e.is_dir() and _holds_something(e.path)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [run / CHECKPOINTS / name for name in sorted(names, key=step_of)]


def _holds_something(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return True  # there, and not to be read: that is for whoever opens it to say


def step_of(name: str) -> int:
    """``step-00000012`` is 12."""
    match = STEP.fullmatch(name)
    return int(match[1]) if match else -1


def write_list(folder: Path, run: str | None, known: Mapping[str, Sum] | None = None) -> None:
    """Lists all that lies in a folder; `known`: files whose sums were made while they were written."""
    names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    files = {}
    for name, path in sorted(names.items()):
        if name != FILES:
            checksum = (known or {}).get(name) or Sum(path.stat().st_size, file_sha256(path))
            files[name] = checksum._asdict()
    text = _rendered({"schema_version": SCHEMA_VERSION, "run": run, "files": files})
    (folder / FILES).write_text(text, encoding="utf-8")


def _rendered(content: dict[str, Any]) -> str:
    """The list as text, its own sum last: of the same content always the same bytes."""
    own = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": own}, indent=1) + "\n"


def read_list(folder: Path) -> FileList:
    """Raises `Damaged`, and `UserError` where it may not be read."""
    altered = Damaged(f"{FILES} does not match its own sha256")
    try:
        with reading():
            text = (folder / FILES).read_bytes()
        content = json.loads(text)
        if not isinstance(content, dict):
            raise altered
        if content and all(type(size) is int for size in content.values()) and "schema_version" not in content:
            return FileList({name: Sum(size, None) for name, size in content.items()})
        content.pop("sha256", None)
        if _rendered(content).encode() != text:
            raise altered
        if content["schema_version"] > SCHEMA_VERSION:
            version = f"is of schema {content['schema_version']}, this version reads {SCHEMA_VERSION}"
            raise UserError(f"{folder / FILES} {version}; upgrade unmask")
        files = {name: Sum(int(entry["size"]), str(entry["sha256"])) for name, entry in content["files"].items()}
        return FileList(files, content["run"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Damaged(f"{FILES} is missing") from error
    except OSError as error:
        raise Damaged(f"{FILES} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise altered from error


def file_flaw(folder: Path, name: str, wanted: Sum, full: bool = True) -> str | None:
    """What is wrong with one file; None where nothing is. `full`: its content too, not its size alone.

    Raises `UserError` where it may not be read.
    """
    try:
        with reading():
            there = (folder / name).stat().st_size
        if there < wanted.size:
            return f"{name} is cut short ({there:,} of {wanted.size:,} bytes)"
        if there > wanted.size:
            return f"{name} has {there:,} bytes instead of {wanted.size:,}"
        with reading():
            if full and wanted.sha256 is not None and file_sha256(folder / name) != wanted.sha256:
                return f"{name} does not match its sha256"
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None


def flaw(
    folder: Path, full: bool = True, only: Collection[str] | None = None, largest: float = math.inf
) -> str | None:
    """What is wrong with a checkpoint by its list; None where it is whole.

    full: contents too, of files of at most `largest` bytes. only: these files alone. Raises `UserError` for what may
    not be read.
    """
    try:
        files = read_list(folder).files
    except Damaged as damage:
        return str(damage)
    for name, wanted in files.items():
        if only is None or name in only:
            bad = file_flaw(folder, name, wanted, full and wanted.size <= largest)
            if bad is not None:
                return bad
    return None


def newest_checkpoint(run: Path, full: bool = False) -> Path | None:
    """The newest that is whole, by its files' sizes or (`full`) by their contents."""
    return next((folder for folder in reversed(checkpoints(run)) if flaw(folder, full) is None), None)


def refuse_damage(folder: Path, reading: Collection[str], largest: float) -> None:
    """Raises `UserError` where one of the files that are about to be read is not as it was written.

    Says which checkpoint before it is whole, for a person to choose: another one is another model. A folder without a
    list, as others publish them, is not checked.
    """
    if not os.path.lexists(folder / FILES):
        return
    bad = flaw(folder, only=reading, largest=largest)
    if bad is None:
        return
    siblings = checkpoints(folder.parent.parent) if folder.parent.name == CHECKPOINTS else []
    before = [other for other in siblings if step_of(other.name) < step_of(folder.name)]
    older = next((other for other in reversed(before) if flaw(other, only=reading) is None), None)
    mend = f"give the one before it, {older}" if older else "put back a whole copy, there is none before it"
    raise UserError(f"{folder} is damaged: {bad}; {mend} (--no-verify takes it as it is)")
