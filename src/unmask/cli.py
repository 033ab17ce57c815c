"""The `unmask` command: one function a verb, no logic, no heavy import before a verb runs.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024
    unmask train demo-mdm --data data/sotu --out runs/mdm

Results go to stdout (``--json`` for machines), progress and errors to stderr. Exit status: 0; 2 for bad input; 130 and
143 when stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from unmask.arguments import Parser, build_parser, demo_parser
from unmask.errors import SaidElsewhere, UserError, nearest
from unmask.files import NO_ROOM, REFUSED
from unmask.settings import listed_recipes
from unmask.terminal import heed_interrupts, say


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits with its status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be what the terminal can write
        sys.stdout.reconfigure(errors="backslashreplace")
    heed_interrupts()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            status = run(sys.argv[1:] if argv is None else list(argv))
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
    if argv[:1] == ["lm-eval"]:  # all that follows is the harness's
        return lm_eval(argv[1:])
    if argv[:2] == ["experiment", "demo"]:
        return demo(argv[2:])
    parser, verbs = build_parser(FUNCTIONS)
    words = [word for word in argv if not word.startswith("-")]
    if words and argv[0] == words[0] and words[0] not in verbs:
        raise UserError(f"'{words[0]}' is not a verb{nearest(words[0], verbs)}; verbs: {', '.join(verbs)}")
    settings: list[str] = []
    if argv[:1] == ["train"]:
        argv, settings = parted(argv, verbs["train"])
    args, rest = parser.parse_known_args(argv)
    if args.verb is None:
        parser.print_help()
        return 0
    if args.verb == "train":
        args.overrides = overrides(settings + rest)
    elif rest:
        refuse(rest[0], verbs[f"{args.verb} {args.subject}" if "subject" in args else args.verb])
    return int(args.function(args) or 0)


def refuse(word: str, parser: Parser) -> NoReturn:
    """Raises `UserError` for a word that a verb does not know."""
    options = [option for action in parser._actions for option in action.option_strings]
    raise UserError(f"unknown argument {word}{nearest(word, options)}; see {parser.prog} --help")


def parted(argv: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """What the parser of `train` knows, and the recipe's keys with their values, which stand anywhere between."""
    flags = [option for action in parser._actions for option in action.option_strings]
    known, settings = [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or word.partition("=")[0] in flags:
            known.append(word)
            continue
        settings.append(word)
        if "=" not in word and words and not words[0].startswith("--"):
            settings.append(words.pop(0))
    return known, settings


def overrides(rest: list[str]) -> dict[str, str]:
    """``--model.n_layer 4 --steps=10`` as a mapping. Raises `UserError` for a key that is given twice."""
    found: dict[str, str] = {}
    words = list(rest)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--"):
            raise UserError(f"'{name}' is not understood; settings are given as --key value")
        if not equals:
            if not words or words[0].startswith("--"):
                hint = nearest(name, ("--resume", "--dry-run", "--json", "--help"))
                raise UserError(f"{name} has no value{hint}; give {name} VALUE")
            value = words.pop(0)
        if name[2:] in found:
            raise UserError(f"{name} is given twice, as {found[name[2:]]} and as {value}; leave out one")
        found[name[2:]] = value
    return found


def emit(args: argparse.Namespace, result: Any, text: str) -> None:
    utf8 = str(sys.stdout.encoding or "utf-8").lower().startswith("utf")  # elsewhere "\\xe9" would stand in the JSON
    print(json.dumps(result, ensure_ascii=not utf8) if args.json else text)


def prepare(args: argparse.Namespace) -> None:
    """Reads text, trains or loads a tokenizer, and writes packed tokens with a manifest."""
    from unmask.data.prepare import PrepareOptions
    from unmask.data.prepare import prepare as prepare_data

    skip = ("verb", "function", "json", "no_dedup")
    fields = {name: value for name, value in vars(args).items() if name not in skip}
    manifest = prepare_data(PrepareOptions(**fields, dedup=not args.no_dedup))
    lines = [f"{args.out}: " + ("made" if manifest.created else "already prepared, nothing to do")]
    for name, split in manifest.splits.items():
        lines.append(f"  {name}: {split.documents:,} documents, {split.tokens:,} tokens, {split.bytes:,} bytes")
    emit(args, {"created": manifest.created, "out": str(args.out), **json.loads(manifest.to_json())}, "\n".join(lines))


def train(args: argparse.Namespace) -> int:
    """Trains by a recipe; every key of it can be given as --key value."""
    if args.recipe is None:
        raise UserError(f"no recipe is given; give a YAML file, a run with --resume, or one of\n{listed_recipes()}")
    from unmask.training.dry_run import dry_run
    from unmask.training.loop import train as run_training
    from unmask.training.record import chosen_recipe

    recipe = chosen_recipe(args.recipe, args.overrides, args.resume)
    if args.dry_run:
        if (found := dry_run(recipe, resume=args.resume)) is not None:
            emit(args, found.to_dict(), found.in_words())
        return 0
    result = run_training(recipe, resume=args.resume)
    loss = "" if result.validation is None else f", validation {result.validation['loss']:.4f} nats/token"
    if result.rank == 0:
        emit(args, result.to_dict(), f"{result.run}: step {result.step} of {result.steps}{loss}")
    return 128 + result.signal if result.signal else 0


def sample(args: argparse.Namespace) -> None:
    """Generates text in any order (MDM) or from left to right (ARM), or fills the gaps of a text."""
    from unmask.decoding.show.sample import SampleOptions
    from unmask.decoding.show.sample import sample as run_sample

    own = SampleOptions.__dataclass_fields__
    fields = {name: value for name, value in vars(args).items() if name not in ("verb", "function", "json")}
    rules = {name: value for name, value in fields.items() if name not in own}
    found = run_sample(SampleOptions(**{name: fields[name] for name in fields if name in own}, rules=rules))
    if found is not None:  # else the lines are out
        emit(args, found.rows, "\n---\n".join(found.texts))


def score(args: argparse.Namespace) -> None:
    """Log-likelihood of texts with its standard error, in nats per token and bits per byte."""
    from unmask.evaluation.score_texts import ScoreOptions, in_words, score_texts

    fields = {name: value for name, value in vars(args).items() if name not in ("verb", "function", "json")}
    results = score_texts(ScoreOptions(**fields))
    emit(args, [result.to_dict() for _, result in results], in_words(results, args.greedy))


def evaluate(args: argparse.Namespace) -> None:
    """Runs benchmarks through lm-evaluation-harness, by default with the paper's method and guidance for each."""
    from unmask.evaluation.benchmarks import evaluate as run_tasks
    from unmask.evaluation.benchmarks import in_words

    names = [name.strip() for name in args.tasks.split(",") if name.strip()]
    skip = ("verb", "function", "json", "model", "tasks")
    fields = {name: value for name, value in vars(args).items() if name not in skip}
    result = run_tasks(args.model, names, **fields)
    emit(args, result, in_words(result))


def compare(args: argparse.Namespace) -> None:
    """Paired differences of two evaluations on the same questions; refuses those of different protocols."""
    from unmask.evaluation.paired import compare_results, in_words

    result = compare_results(args.first, args.second, args.across_dtypes)
    emit(args, result, in_words(result))


def lm_eval(args: list[str] | argparse.Namespace) -> int:
    """lm-evaluation-harness's command line; its model `unmask` takes --model_args path=RUN,method=...,guidance=..."""
    from unmask.evaluation.harness import command

    return command(args if isinstance(args, list) else [])


def convert(args: argparse.Namespace) -> None:
    """Converts published weights into a model folder, or with --export one of our models into theirs."""
    from unmask.interop.convert import bring_in, send_out

    options = {name: value for name in ("config", "size", "rope", "tokenizer") if (value := getattr(args, name))}
    if args.export:
        out = send_out(args.format, args.source, args.out, verify=args.verify, **options)
        emit(args, {"out": str(out), "format": args.format}, f"{out}: written in the {args.format} layout")
        return
    model = bring_in(args.format, args.source, args.out, **options)
    result = {"out": str(model.path), "kind": model.kind, "parameters": model.config.n_params}
    emit(args, result, f"{model.path}: {model.kind}, {model.config.n_params:,} parameters")


def bench(args: argparse.Namespace) -> None:
    """Measures one subject side by side with another way to do it, the arms in turns."""
    import importlib

    from unmask.bench import SUBJECTS

    home, options, measure = SUBJECTS[args.subject]
    module = importlib.import_module(home)
    skip = ("verb", "function", "json", "subject")
    fields = {name: value for name, value in vars(args).items() if name not in skip and value is not None}
    result = getattr(module, measure)(getattr(module, options)(**fields))
    emit(args, result, module.in_words(result))


def scale(args: argparse.Namespace) -> int:
    """Scaling laws: plans a sweep of runs, runs it, says where it stands, fits it, reports and predicts."""
    import importlib

    from unmask.scaling import VERBS

    home, options, work = VERBS[args.subject]
    module = importlib.import_module(home)
    skip = ("verb", "function", "json", "subject")
    fields = {name: value for name, value in vars(args).items() if name not in skip and value is not None}
    result = getattr(module, work)(getattr(module, options)(**fields))
    emit(args, result, module.in_words(result))
    signal = result.get("signal") if isinstance(result, dict) else 0
    return 128 + signal if signal else 0


def experiment(args: argparse.Namespace) -> int:
    """Runs one of the paper's findings at our size; without a name lists them, with their times and what was found."""
    from unmask.experiments.command import ExperimentOptions, in_words, run_experiment

    skip = ("verb", "function", "json")
    fields = {name: value for name, value in vars(args).items() if name not in skip and value is not None}
    result = run_experiment(ExperimentOptions(**fields))
    emit(args, result, in_words(result))
    signal = result.get("signal")
    return 128 + signal if signal else 0


def demo(argv: list[str]) -> int:
    """`unmask experiment demo`: trains both kinds of model, compares them, and writes a report."""
    from unmask.experiments.demo.run import DemoOptions, in_words, run_demo

    args, rest = (parser := demo_parser()).parse_known_args(argv)
    if rest:
        refuse(rest[0], parser)
    fields = {name: value for name, value in vars(args).items() if name != "json" and value is not None}
    result = run_demo(DemoOptions(**fields))
    if signal := result.get("signal"):
        return 128 + int(signal)
    emit(args, result, in_words(result, args.out))
    return 0


def tune(args: argparse.Namespace) -> None:
    """Picks rule, threshold and steps for a speed or quality target, and writes them into the model folder."""
    from unmask.bench.tune import TuneOptions, in_words
    from unmask.bench.tune import tune as tune_model

    skip = ("verb", "function", "json")
    found = {name: value for name, value in vars(args).items() if name not in skip and value is not None}
    result = tune_model(TuneOptions(**found))
    emit(args, result, in_words(result))


def plan(args: argparse.Namespace) -> None:
    """What a run will take: memory a device by use, steps, FLOPs by both rules, time at a stated efficiency."""
    from unmask.training.plan import PlanOptions, describe
    from unmask.training.plan import plan as plan_run

    found = plan_run(PlanOptions(**{k: v for k, v in vars(args).items() if k not in ("verb", "function", "json")}))
    emit(args, found.to_dict(), describe(found))


FUNCTIONS: dict[str, Any] = {
    "prepare": prepare,
    "train": train,
    "sample": sample,
    "score": score,
    "eval": evaluate,
    "compare": compare,
    "lm-eval": lm_eval,
    "convert": convert,
    "plan": plan,
    "scale": scale,
    "experiment": experiment,
    "tune": tune,
    "bench": bench,
}
