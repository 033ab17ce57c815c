"""lm-evaluation-harness as we run it: its tasks found fast, its data by one rule, its noise and tracebacks kept away.

    check_names(["gsm8k", "unmask_piqa"], [TASKS])        # a second, where the harness reads its index for 15
    with in_one_line(): ...                               # what it raises for bad input as a `UserError`

Neither the harness nor torch is imported before a name is known to be right. Two things in the harness's own modules
are changed: where a task loads a data set, the hub is asked by the rule of `unmask.hub`; and the git revision that it
notes is asked for in silence.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib.util
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from unmask.errors import UserError, nearest
from unmask.hub import reason, settle

TASKS = Path(__file__).parent / "tasks"
MISSING = "the benchmarks need lm-evaluation-harness: pip install 'unmask[eval]'"
# Where a task file says a name: its own, its group's, its tags, or an entry of a list of them.
_NAMED = re.compile(
    rb"""^[ \t]*(?:["']?(?:task|group|tag)["']?[ \t]*:|-(?:[ \t]*["']?task["']?[ \t]*:)?)[ \t]*(.+?)[ \t]*\r?$""", re.M
)
_OWN = re.compile(rb"""^["']?task["']?[ \t]*:[ \t]*["']?([^\s"'#\[]+)""", re.M)
_WORD = re.compile(rb"""[^\s"'\[\],]+""")
NO_TEMPLATE = (
    "the model has no chat template; leave it out, and write the turns' marks into the task's own text (doc_to_text)"
)
NO_TASKS = (".py", ".pyc", ".md", ".json", ".jsonl", ".txt", ".csv", ".tsv")


# ------------------------------------------------------------------ tasks by name


@cache
def task_manager() -> Any:
    """The harness's tasks and the local ones of this package (`unmask_*`); reading them takes seconds, once."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS))


@cache
def local_manager() -> Any:
    """The tasks of this package alone, and others by the paths of their files: no index is read."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=False)


@cache
def names_in(folder: Path) -> tuple[frozenset[str], dict[str, Path]]:
    """Every word of a folder's task files that may be a task's, a group's or a tag's name, and the files of tasks.

    Files are searched rather than parsed: no name is missed, though a word more may be found.
    """
    words: set[bytes] = set()
    own: dict[str, Path] = {}
    for place, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.endswith(NO_TASKS):
                continue
            path = Path(place, file)
            text = path.read_bytes()
            for line in _NAMED.findall(text):
                words.update(_WORD.findall(line))
            if file.endswith(".yaml") and (name := _OWN.search(text)):
                own.setdefault(name[1].decode("utf-8", "replace"), path)
    return frozenset(word.decode("utf-8", "replace") for word in words), own


def harness_folder() -> Path:
    """Where its task files lie, found without importing it. Raises `UserError` where it is not installed."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(MISSING)
    return Path(spec.submodule_search_locations[0], "tasks")


def matching(name: str) -> list[str]:
    """The tasks that a pattern such as ``unmask_*`` stands for; any other name as it is."""
    if not any(sign in name for sign in "*?["):
        return [name]
    known = {*names_in(TASKS)[1], *names_in(harness_folder())[1]}
    return sorted(fnmatch.filter(known, name)) or [name]


def check_names(names: Sequence[str], folders: Iterable[Path], more: Sequence[str] = ()) -> None:
    """Raises `UserError` for the first that is no task: neither in the folders, nor of the harness, nor a file.

    more: names to suggest before others.
    """
    places = [*folders, harness_folder()]
    for name in names:
        if Path(name).is_dir() and "/" in name:
            raise UserError(f"task '{name}' is a folder; give its files, or --include_path with unmask lm-eval")
        if matching(name) != [name] or Path(name).exists() or any(name in names_in(p)[0] for p in places):
            continue
        hint = nearest(name, more) or nearest(name, sorted(set().union(*(names_in(place)[0] for place in places))))
        raise UserError(f"task '{name}' is unknown{hint}; unmask lm-eval ls tasks lists the harness's, docs our own")


# ------------------------------------------------------------------ data, errors, noise


@contextlib.contextmanager
def in_one_line(task: str | None = None) -> Iterator[None]:
    """What the harness raises for bad input, in one line. LMEVAL_LOG_LEVEL=DEBUG keeps its traceback."""
    try:
        yield
    except Exception as error:  # tasks are code and data of anybody's
        # Memory and disks are the command line's to tell; NotImplementedError is a RuntimeError.
        ours = isinstance(error, UserError | MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        ours |= isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError)
        if ours or os.environ.get("LMEVAL_LOG_LEVEL", "").upper() == "DEBUG":
            raise
        why = next(iter(str(error).strip().splitlines()), "")
        named = type(error).__name__ + (f": {why}" if why else "")
        where = "lm-evaluation-harness" if task is None else f"task {task}"
        raise UserError(f"{where}: {named} (LMEVAL_LOG_LEVEL=DEBUG shows where)") from error


class _Datasets:
    """`datasets` as the harness's tasks see it: a data set of the hub is asked for by our rule."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def load_dataset(self, path: str, *args: Any, **options: Any) -> Any:
        if "/" not in str(path) and "data_files" in options or Path(str(path)).exists():
            return self._library.load_dataset(path, *args, **options)
        settle()
        try:
            return self._library.load_dataset(path, *args, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"the task's data, {path}, cannot be read: {reason(error)}") from error


def _git_revision() -> str | None:
    try:
        done = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def tame() -> None:
    """Puts our rule and our silence in place; again does nothing."""
    import lm_eval.api.task as task
    import lm_eval.evaluator as evaluator

    if not isinstance(task.datasets, _Datasets):
        vars(task)["datasets"] = _Datasets(task.datasets)
    vars(evaluator)["get_git_commit_hash"] = _git_revision
