"""lm-evaluation-harness as we run it: its tasks found fast, its data by one rule, its noise and tracebacks kept away.

    check_names(["gsm8k", "unmask_piqa"], [TASKS])        # a second, where the harness reads its index for 15
    with in_one_line(): ...                               # what it raises for bad input as a `UserError`

Neither the harness nor torch is imported before a name is known to be right. Two things in the harness's own modules
are changed: where a task loads a data set, the hub is asked by the rule of `unmask.hub`; and the git revision that it
notes is asked for in silence.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from unmask.errors import UserError, nearest
from unmask.evaluation.generation_arguments import read_arguments
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


# ------------------------------------------------------------------ the command line


def command(argv: list[str]) -> int:
    """`unmask lm-eval ARGS`: the harness's command line, with the model `unmask` and the tasks `unmask_*` known.

    Raises `UserError` in place of the harness's tracebacks for bad input, and before it begins for a task that is
    unknown and for generation arguments that cannot be followed.
    """
    harness_folder()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    words, dtype = without_dtype(argv)
    given = any(word.partition("=")[0] == "--include_path" for word in words)
    if any(word.startswith("-") and word not in ("--help", "-h") for word in words) and not given:
        words += ["--include_path", str(TASKS)]
    sys.argv = ["lm-eval", *words]

    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    parser = HarnessCLI()
    args = vars(parsed := parser.parse_args())
    if args.get("model") == "unmask":
        if args.get("apply_chat_template"):
            raise UserError(f"--apply_chat_template: {NO_TEMPLATE}")
        if args.get("gen_kwargs"):
            read_arguments(args["gen_kwargs"])
        place(parsed, dtype)
    elif dtype is not None:
        raise UserError("--dtype concerns --model unmask; other models take it by --model_args")
    if isinstance(tasks := args.get("tasks"), list):
        folders = [Path(args["include_path"])] if args.get("include_path") else []
        check_names([name for entry in tasks for name in str(entry).split(",")], folders)
    if str(args.get("model") or "").startswith(("hf", "huggingface")):
        settle()
    import lm_eval.models  # noqa: F401 (its models are registered before ours, or not at all)

    import unmask.evaluation.lm_eval_adapter  # noqa: F401 (from here on the harness knows ours)

    with in_one_line():
        parser.execute(parsed)
    return 0


def without_dtype(argv: Sequence[str]) -> tuple[list[str], str | None]:
    """The words without our own `--dtype`, which the harness does not know, and its value."""
    words, dtype = [], None
    given = iter(argv)
    for word in given:
        name, equals, value = word.partition("=")
        if name != "--dtype":
            words.append(word)
        elif not (dtype := value if equals else next(given, "")):
            raise UserError("--dtype has no value; give fp32, bf16 or auto")
    return words, dtype


def place(parsed: argparse.Namespace, dtype: str | None) -> None:
    """Device and type of our model: from the command line `auto` and fp32 unless told. Raises `UserError`."""
    from unmask.model.placement import check_dtype, choose_device

    told = dict(parsed.model_args or {})
    if dtype is not None:
        if told.setdefault("dtype", dtype) != dtype:
            raise UserError(f"--dtype is {dtype} and model_args has dtype={told['dtype']}; leave out one")
        parsed.model_args = told
    if parsed.device is None and "device" not in told:
        parsed.device = "auto"
    choose_device(told.get("device", parsed.device))
    check_dtype(told.get("dtype", "fp32"))


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
