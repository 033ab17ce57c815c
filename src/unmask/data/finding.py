"""Which files a user's path names: a file, a folder at any depth, a glob.

    files = files_of("texts/", tell=print)      # [FoundFile(path, name, key), ...] in the order of their names

A folder that is linked is followed, and each real one is read once, so that loops end. What is left out for another
reason than a hidden name is told in one line: links to nothing, what is no regular file, and folders that this program
made itself (prepared data, runs), which are no text.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unmask.data.manifest import FILE as MANIFEST
from unmask.errors import UserError, nearest

Tell = Callable[[str], None]
_NOTES = {"dataset_info.json", "state.json"}  # beside the Arrow files of `datasets`' save_to_disk
TOLD = 5  # paths that one line names
_OURS = re.compile(r'\{\s*"schema_version":\s*\d+,\s*"settings":\s*\{')  # how a manifest.json begins


@dataclass(frozen=True)
class FoundFile:
    path: Path
    name: str  # for messages
    key: str  # for the fingerprint: the same wherever the source lies


def files_of(spec: str, tell: Tell | None = None, known: Iterable[str] = (), others: str = "") -> list[FoundFile]:
    """The files that a path or a glob names. Raises `UserError` where there is none.

    tell: is given a line for what is left out. known, others: what else a caller takes, for the message.
    """
    search = _Search()
    files = _each_once(search.files(spec))
    if search.left and tell is not None:
        for why, unsorted in search.left.items():
            paths = sorted(unsorted)
            more = f" and {len(paths) - TOLD} more" if len(paths) > TOLD else ""
            tell(f"left out {', '.join(paths[:TOLD])}{more}: {why}")
    if files:
        return files
    if search.left:
        why, paths = next(iter(search.left.items()))
        raise UserError(f"source '{spec}' holds no text: {paths[0]} is left out, since it is {why}")
    if os.path.isdir(spec):
        raise UserError(f"source '{spec}' is a folder without files; name one that holds text")
    if glob.has_magic(spec):
        raise UserError(f"source '{spec}' matches no file; check the pattern, and quote it for the shell")
    if os.path.lexists(spec):
        what = "a link to nothing" if not os.path.exists(spec) else "no regular file, which could be read twice"
        raise UserError(f"source '{spec}' is {what}; give a file or a folder")
    kinds = f"a file, a folder, a glob, {others}" if others else "a file, a folder or a glob"
    raise UserError(f"source '{spec}' does not exist{nearest(spec, known)}; give {kinds}")


def _each_once(files: list[FoundFile]) -> list[FoundFile]:
    """A file that is also linked, or reached by two patterns, stands once: by its own name where that is among them."""
    chosen: dict[str, FoundFile] = {}
    for file in files:
        real = os.path.realpath(file.path)
        if real not in chosen or os.path.abspath(file.path) == real:
            chosen[real] = file
    kept = set(map(id, chosen.values()))
    return [file for file in files if id(file) in kept]


class _Search:
    def __init__(self) -> None:
        self.left: dict[str, list[str]] = {}  # why: paths
        self._seen: set[tuple[int, int]] = set()  # real folders
        self._ours: dict[str, str | None] = {}

    def files(self, spec: str) -> list[FoundFile]:
        if os.path.isfile(spec):
            return [FoundFile(Path(spec), spec, os.path.basename(spec))]
        if os.path.isdir(spec):
            return sorted(self._walk(spec, spec), key=lambda file: file.key)
        if not glob.has_magic(spec):
            return []
        head, tail = _at_any_depth(spec)
        files: list[FoundFile] = []
        if tail is None:
            for path in sorted(glob.glob(spec)):
                if os.path.isdir(path):
                    files += self._walk(path, os.path.dirname(path.rstrip(os.sep)) or ".")
                elif not os.path.isfile(path) or not self._left_out(os.path.dirname(path)):
                    files += self._regular([path])
        else:
            for root in sorted(glob.glob(head)) if head else ["."]:
                if os.path.isdir(root):
                    files += [_named(file.path) for file in self._walk(root, root) if _matches(file.key, tail)]
        return sorted(files, key=lambda file: file.name)

    def _walk(self, folder: str, root: str) -> Iterator[FoundFile]:
        """Files below `folder`, their keys from `root`; linked folders after all that are reached without a link."""
        waiting = [folder]
        while waiting:
            links: list[str] = []
            for place, folders, files in os.walk(waiting.pop(0), onerror=_unreadable):
                stat = os.stat(place)
                if (stat.st_dev, stat.st_ino) in self._seen or self._left_out(place):
                    folders.clear()
                    continue
                self._seen.add((stat.st_dev, stat.st_ino))
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                links += [path for name in folders if os.path.islink(path := os.path.join(place, name))]
                if _NOTES <= set(files):
                    files = sorted(set(files) - _NOTES)
                    notes = [os.path.join(place, name) for name in sorted(_NOTES)]
                    self.left.setdefault("notes of a saved data set, beside its rows", []).extend(notes)
                paths = [os.path.join(place, name) for name in files if not name.startswith(".")]
                for file in self._regular(paths):
                    yield FoundFile(file.path, file.name, os.path.relpath(file.path, root))
            waiting += sorted(links)

    def _regular(self, paths: list[str]) -> Iterator[FoundFile]:
        for path in paths:
            if os.path.isfile(path):
                yield _named(Path(path))
            else:
                why = "no regular file" if os.path.exists(path) else "a link to nothing"
                self.left.setdefault(why, []).append(path)

    def _left_out(self, folder: str) -> bool:
        if folder not in self._ours:
            self._ours[folder] = made_by(folder)
            if (what := self._ours[folder]) is not None:
                self.left.setdefault(what, []).append(folder)
        return self._ours[folder] is not None


def made_by(folder: str) -> str | None:
    """What of this program's own a folder is, or None."""
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            if _OURS.match(file.read(256)):
                return "a folder of prepared data"
    except (OSError, ValueError):
        pass
    if all(os.path.isfile(os.path.join(folder, name)) for name in ("recipe.yaml", "versions.json")):
        return "the folder of a run"
    return None


def _named(path: Path) -> FoundFile:
    return FoundFile(path, str(path), str(path))


def _at_any_depth(spec: str) -> tuple[str, list[str] | None]:
    """A glob's part before its first `**`, and the names that must follow; (spec, None) where it has none.

    `glob` would walk a linked folder once for every way that leads to it, and loops of links without end.
    """
    parts = spec.split(os.sep)
    if "**" not in parts:
        return spec, None
    at = parts.index("**")
    return os.sep.join(parts[:at]) or (os.sep if at else ""), parts[at:]


def _matches(key: str, pattern: list[str]) -> bool:
    """Whether a file, or a folder that it lies in, is what a pattern names."""
    parts = key.split(os.sep)
    return any(_names(parts[:count], pattern) for count in range(len(parts), 0, -1))


def _names(parts: list[str], pattern: list[str]) -> bool:
    if not pattern or pattern == [""]:
        return not parts
    if pattern[0] == "**":
        return any(_names(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _names(parts[1:], pattern[1:])


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}")
