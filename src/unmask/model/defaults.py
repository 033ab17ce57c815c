"""A model's own defaults of decoding: ``generation.json`` beside its ``config.json``, written by `unmask tune`.

    read_defaults(folder)                  # {"order": "confidence", "quota": "threshold:0.9", "temperature": 1.0}
    write_defaults(folder, {"order": "ancestral", "steps_per_token": 0.5}, measured={...})

They are options of `generate`, which uses them where the caller names none; `steps_per_token` is half as many steps as
new tokens at 0.5, so that it holds for every length. They were measured on the weights beside them: a copied folder
keeps them, while new weights (a later checkpoint, a fine-tuned or converted model) are saved without.

Here only types are checked; which rules exist is decoding's to know. Rules of a user's own files are named with the
files' sha256 (`plugins`); nothing is imported because it stands there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.errors import UserError, nearest
from unmask.files import write_whole
from unmask.model.generation_options import TABLE
from unmask.settings import read_json

FILE = "generation.json"
KIND = "unmask-generation-defaults"
SCHEMA_VERSION = 1
TEXT, WHOLE, NUMBER = "text", "a whole number of at least 1", "a finite number"
RULES = (
    *("order", "quota", "eligible", "revise", "cache", "eos", "steps", "block", "top_k", "threshold", "order_noise"),
    "guidance",
)
KINDS = {str: TEXT, int: WHOLE, float: NUMBER}
OPTIONS = {name: KINDS[TABLE[name].kind] for name in (*RULES, "temperature", "top_p")} | {"steps_per_token": NUMBER}


class Defaults(dict[str, Any]):
    """Options, and the plug-ins {name: sha256} that their rules need."""

    def __init__(self, options: Mapping[str, Any], plugins: Mapping[str, str], path: Path) -> None:
        super().__init__(options)
        self.plugins, self.path = dict(plugins), path


def read_defaults(folder: Path) -> dict[str, Any]:
    """The options in a model folder's file; empty without one. Raises `UserError` naming the file and its field."""
    if (whole := read_file(folder)) is None:
        return {}
    return Defaults(whole["options"], whole.get("plugins", {}), folder / FILE)


def read_file(folder: Path) -> dict[str, Any] | None:
    """All of the file, checked: `options`, and what was `measured` when they were chosen. None without a file."""
    path = folder / FILE
    try:
        whole = read_json(path) if path.exists() else None
    except UserError as error:
        raise _bad(path, str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")) from error
    if whole is None:
        return None
    if not isinstance(whole, dict) or not isinstance(whole.get("options"), dict):
        raise _bad(path, "has no `options` entry")
    version = whole.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= SCHEMA_VERSION:
        raise _bad(path, f"schema_version is {version!r}, this version reads {SCHEMA_VERSION}")
    check_options(whole["options"], path)
    plugins = whole.get("plugins", {})
    if not isinstance(plugins, dict) or not all(isinstance(sha256, str) for sha256 in plugins.values()):
        raise _bad(path, f"plugins is {plugins!r}, which maps no names to sums")
    return whole


def check_options(options: dict[str, Any], path: Path) -> None:
    """Raises `UserError` for an option that does not exist or is of another type."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise _bad(path, f"options.{name} is unknown{nearest(name, OPTIONS)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {
            TEXT: isinstance(value, str),
            WHOLE: number and value == int(value) >= 1 if number and math.isfinite(value) else False,
            NUMBER: number and math.isfinite(value),
        }
        if not fits[OPTIONS[name]]:
            raise _bad(path, f"options.{name} is {value!r}, which is not {OPTIONS[name]}")
    if not options.get("steps_per_token", 1.0) > 0:
        raise _bad(path, f"options.steps_per_token is {options['steps_per_token']!r}, which is not above 0")


def write_defaults(
    folder: Path, options: dict[str, Any], measured: dict[str, Any], plugins: Mapping[str, str] | None = None
) -> Path:
    """Writes the file atomically, replacing an older one; returns its path. plugins: {name: sha256}."""
    path = folder / FILE
    check_options(options, path)
    whole = {"schema_version": SCHEMA_VERSION, "kind": KIND, "unmask_version": __version__, "options": options}
    whole |= {"plugins": dict(plugins)} if plugins else {}
    return write_whole(path, json.dumps({**whole, "measured": measured}, indent=1) + "\n")


def remove_defaults(folder: Path) -> bool:
    """Takes the file away; whether there was one."""
    try:
        (folder / FILE).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{folder / FILE} cannot be removed: {error.strerror}; check who may write there") from error
    return True


def _bad(path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}; mend it, or take it away with `unmask tune RUN --reset`")
