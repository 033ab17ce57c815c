"""The `unmask` command: a table from verb to the class of its options; no logic, no heavy import before a verb runs.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024
    unmask train demo-mdm --data data/sotu --out runs/mdm

Results go to stdout (``--json`` for machines), progress and errors to stderr. Exit status: 0; 2 for bad input; 130 and
143 when stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from unmask._version import __version__
from unmask.bench import refuse_moved
from unmask.errors import SaidElsewhere, UserError, nearest
from unmask.files import NO_ROOM, REFUSED
from unmask.options import Options, UnknownOption, flags
from unmask.terminal import heed_interrupts, say

# Verb: (class of its options, what it is for), or (verbs of its own, what they are for).
Verb = tuple[Any, str]
VERBS: dict[str, Verb] = {
    "prepare": ("unmask.data.options:PrepareOptions", "text to packed, memory-mapped tokens"),
    "train": ("unmask.training.options:TrainOptions", "train an MDM or ARM by a recipe"),
    "sample": ("unmask.decoding.show.sample_options:SampleOptions", "generate text, or fill gaps in one"),
    "score": ("unmask.evaluation.options:ScoreOptions", "likelihood of text: a bound (MDM) or exact (ARM)"),
    "eval": ("unmask.evaluation.options:EvalOptions", "the paper's benchmarks, each number with its protocol"),
    "compare": ("unmask.evaluation.options:CompareOptions", "two results of eval: paired differences"),
    "lm-eval": ("unmask.evaluation.options:HarnessOptions", "lm-evaluation-harness with our models: --model unmask"),
    "convert": ("unmask.interop.options:ConvertOptions", "published weights in and out"),
    "plan": ("unmask.training.options:PlanOptions", "memory, steps, FLOPs and time of a run, on paper"),
    "scale": (
        {
            "plan": ("unmask.scaling.options:PlanOptions", "which runs, how long each, what they cost"),
            "run": ("unmask.scaling.options:RunOptions", "run a plan, across interruptions or a cluster"),
            "status": ("unmask.scaling.options:StatusOptions", "where a sweep stands"),
            "fit": ("unmask.scaling.options:FitOptions", "laws with intervals, and the compute gap of two objectives"),
            "report": ("unmask.scaling.options:ReportOptions", "the fit as a page with pictures"),
            "predict": ("unmask.scaling.options:PredictOptions", "optimal size, tokens and loss of a budget"),
        },
        "scaling laws: plan and run a sweep, fit it, report, predict",
    ),
    "experiment": ("unmask.experiments.options:ExperimentOptions", "the paper's findings at our size, one by one"),
    "experiment demo": ("unmask.experiments.demo.options:DemoOptions", "the demo: both kinds of model side by side"),
    "tune": ("unmask.bench.decode.options:TuneOptions", "pick a model's decoding rule and steps by measuring"),
    "bench": (
        {
            "train": ("unmask.bench.train.options:BenchOptions", "a training step: speed and memory, side by side"),
            "losses": ("unmask.bench.train.options:LossBenchOptions", "what training in bf16 does to the loss"),
            "decode": ("unmask.bench.decode.options:DecodeBenchOptions", "every decoding rule and cache, side by side"),
        },
        "measure side by side",
    ),
}


def main(argv: Sequence[str] | None = None, work: Callable[[list[str]], int] | None = None) -> NoReturn:
    """Runs the command line, or other `work` in the same manner, and exits with its status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be what the terminal can write
        sys.stdout.reconfigure(errors="backslashreplace")
    heed_interrupts()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            status = (work or run)(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except SaidElsewhere:
        time.sleep(1)  # the launcher ends all ranks once one has ended; let the one that speaks be first
        status = 2
    except UserError as error:
        say(f"unmask: error: {error}")
        status = 2
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader of a pipe went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        mend = "take a smaller model, or fewer tokens at once (micro_batch, --samples)"
        say(f"unmask: error: out of memory ({reason}); {mend}")
        status = 2
    except OSError as error:
        if error.errno not in (*NO_ROOM, *REFUSED):
            raise
        mend = "free some space" if error.errno in NO_ROOM else "check the path, and who may read and write it"
        say(f"unmask: error: {error.filename or 'a file'}: {error.strerror}; {mend}")
        status = 2
    sys.exit(status)


def warn(message: Warning | str, category: type[Warning] = UserWarning, *where: Any, **more: Any) -> None:
    """A warning in one line, without the source line that Python adds; none where it tells developers of a library.

    What other packages say of their own names and settings is nothing that a user could mend. A deprecation of ours is
    of a class of ours.
    """
    developers = issubclass(category, DeprecationWarning | PendingDeprecationWarning | FutureWarning)
    ours = category.__module__.partition(".")[0] == "unmask"
    if not ours and (developers or "deprecated" in str(message).lower()):
        return
    say(f"unmask: warning: {message}")


def out_of_memory(error: BaseException) -> bool:
    """PyTorch raises a plain RuntimeError on CPUs and a class of its own (not imported here) on GPUs."""
    named = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return named or "can't allocate memory" in str(error)


def run(argv: list[str]) -> int:
    """Runs a command line; the status it ends with. Raises `UserError`."""
    if argv == ["--version"]:
        print(f"unmask {__version__}")
        return 0
    name, cls, words = chosen(argv)
    if cls is None:
        print(listed(name))
        return 0
    try:
        return perform(cls, words, f"unmask {name}")
    except UnknownOption as error:
        if others := [f"unmask {verb}" for verb, other in every_verb() if error.word in flags(other)]:
            raise UnknownOption(error.word, cls, error.command, others[:3]) from None
        raise


def perform(cls: type[Options], words: Sequence[str], command: str) -> int:
    """Reads the words of a command, runs it and prints its result; the status. Raises `UserError`."""
    options, as_json = cls.from_words(words, command)
    result = options.run()
    if result is None:
        return 0
    values, shown = result.to_dict(), result.in_words()
    if as_json and values is not None:
        utf8 = str(sys.stdout.encoding or "utf-8").lower().startswith("utf")  # elsewhere "\\xe9" would be in the JSON
        print(json.dumps(values, ensure_ascii=not utf8))
    elif shown:
        print(shown)
    return int(result.status)


def chosen(argv: Sequence[str]) -> tuple[str, type[Options] | None, list[str]]:
    """The verb of a command line, the class of its options (None: it has verbs, to be listed), and the rest."""
    verbs, name, words = VERBS, "", list(argv)
    while True:
        if not words or words[0] in ("-h", "--help"):
            if words or not name:
                return name, None, words
            raise UserError(f"unmask {name} needs one of its verbs: {', '.join(verbs)}")
        word = words.pop(0)
        if word == "--json" and name:  # of the verb behind it
            words.append(word)
            word = words.pop(0)
        if words and f"{word} {words[0]}" in verbs:
            word = f"{word} {words.pop(0)}"
        if word not in verbs:
            refuse_moved([name, word])
            what = "is not a verb" if not name else f"is not a verb of unmask {name}"
            raise UserError(f"'{word}' {what}{nearest(word, verbs)}; verbs: {', '.join(verbs)}")
        home, name = verbs[word][0], f"{name} {word}".strip()
        if isinstance(home, str):
            return name, options_at(home), words
        verbs = home


def options_at(home: str) -> type[Options]:
    module, _, name = home.partition(":")
    options: type[Options] = getattr(importlib.import_module(module), name)
    return options


def every_verb() -> Iterator[tuple[str, type[Options]]]:
    for name, (home, _) in VERBS.items():
        inner = {name: home} if isinstance(home, str) else {f"{name} {verb}": at for verb, (at, _) in home.items()}
        for verb, at in inner.items():
            yield verb, options_at(at)


def listed(name: str) -> str:
    """The help of `unmask`, or of a verb that has verbs of its own."""
    verbs, purpose = VERBS, "Masked diffusion language models: train, sample, score."
    if name:
        verbs, purpose = VERBS[name]
    lines = [f"usage: {' '.join(f'unmask {name}'.split())} VERB ...", "", purpose, ""]
    width = max(map(len, verbs)) + 2
    lines += [f"  {verb:<{width}}{words}" for verb, (_, words) in verbs.items()]
    return "\n".join([*lines, "", f"unmask {name + ' ' if name else ''}VERB --help says what each takes."])
