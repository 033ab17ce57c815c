"""The `unmask` command: one function a verb, no logic, no heavy import before a verb runs.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024
    unmask train recipes/demo-mdm.yaml --data data/sotu --out runs/mdm

Results go to stdout (``--json`` for machines), progress and errors to stderr. Exit status: 0; 2 for bad input; 130 and
143 when stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from unmask.arguments import build_parser
from unmask.errors import SaidElsewhere, UserError, nearest

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits with its status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be what the terminal can write
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            status = run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except SaidElsewhere:
        time.sleep(1)  # the launcher ends all ranks once one has ended; let the one that speaks be first
        status = 2
    except UserError as error:
        print(f"unmask: error: {error}", file=sys.stderr, flush=True)
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
        print(f"unmask: error: out of memory ({reason}); {mend}", file=sys.stderr)
        status = 2
    except OSError as error:
        if error.errno not in (*NO_ROOM, *REFUSED):
            raise
        mend = "free some space" if error.errno in NO_ROOM else "check the path, and who may read and write it"
        print(f"unmask: error: {error.filename or 'a file'}: {error.strerror}; {mend}", file=sys.stderr)
        status = 2
    sys.exit(status)


def warn(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning in one line, without the source line that Python adds."""
    print(f"unmask: warning: {message}", file=sys.stderr, flush=True)


def out_of_memory(error: BaseException) -> bool:
    """PyTorch raises a plain RuntimeError on CPUs and a class of its own (not imported here) on GPUs."""
    named = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return named or "can't allocate memory" in str(error)


def run(argv: list[str]) -> int:
    if argv[:1] == ["lm-eval"]:  # all that follows is the harness's
        return lm_eval(argv[1:])
    parser, verbs = build_parser(FUNCTIONS)
    words = [word for word in argv if not word.startswith("-")]
    if words and argv[0] == words[0] and words[0] not in verbs:
        raise UserError(f"'{words[0]}' is not a verb{nearest(words[0], verbs)}; verbs: {', '.join(verbs)}")
    args, rest = parser.parse_known_args(argv)
    if args.verb is None:
        parser.print_help()
        return 0
    if args.verb == "train":
        args.overrides = overrides(rest)
    elif rest:
        name = f"{args.verb} {args.subject}" if "subject" in args else args.verb
        options = [o for action in verbs[name]._actions for o in action.option_strings]
        raise UserError(f"unknown argument {rest[0]}{nearest(rest[0], options)}; see unmask {name} --help")
    return int(args.function(args) or 0)


def overrides(rest: list[str]) -> dict[str, str]:
    """``--model.n_layer 4 --steps=10`` as a mapping."""
    found: dict[str, str] = {}
    words = list(rest)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--"):
            raise UserError(f"'{name}' is not understood; settings are given as --key value")
        if not equals:
            if not words:
                raise UserError(f"{name} has no value; give {name} VALUE")
            value = words.pop(0)
        found[name[2:]] = value
    return found


def emit(args: argparse.Namespace, result: Any, text: str) -> None:
    print(json.dumps(result, ensure_ascii=False) if args.json else text)


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
    from unmask.training.loop import train as run_training
    from unmask.training.recipe import load_recipe

    result = run_training(load_recipe(args.recipe, args.overrides), resume=args.resume)
    loss = "" if result.validation is None else f", validation {result.validation['loss']:.4f} nats/token"
    if result.rank == 0:
        emit(args, result.to_dict(), f"{result.run}: step {result.step} of {result.steps}{loss}")
    return 128 + result.signal if result.signal else 0


def sample(args: argparse.Namespace) -> None:
    """Generates text in any order (MDM) or from left to right (ARM), or fills the gaps of a text."""
    from contextlib import nullcontext

    import unmask
    from unmask.decoding import infill
    from unmask.decoding.page import write_html
    from unmask.decoding.trace import save_trace
    from unmask.decoding.watch import Watcher
    from unmask.files import check_writable

    check_writable([args.trace, args.html])
    if args.fill and args.prompt:
        raise UserError("--fill and --prompt do not go together; put the prompt before the gap: 'We the ____'")
    if args.gap is not None and not args.fill:
        raise UserError("--gap says how long the gaps of --fill are; give --fill, or --length for a continuation")
    if args.samples < 1:
        raise UserError(f"--samples is {args.samples}; give at least 1")
    model = unmask.load(args.model)
    rules = ("length", "steps", "order", "quota", "threshold", "order_noise", "block", "revise", "cache")
    words = ("temperature", "top_p", "top_k", "eos", "stop", "pattern", "seed", "guidance", "negative")
    guidance = ("guidance_mode", "guidance_schedule", "guidance_interval", "special_tokens")
    shared = {name: getattr(args, name) for name in (*rules, *words, *guidance)}
    shared |= {"banned": args.ban, "choices": args.choice, "forced": read_places(args.force)}
    said = {"model": args.model, **shared}
    texts = [text for text in args.fill or args.prompt or [""] for _ in range(args.samples)]
    with Watcher(model, steps=args.steps) if args.watch else nullcontext() as watch:
        shared["watch"] = watch
        if args.fill:
            results = infill(model, texts, **shared, **({} if args.gap is None else {"gap": args.gap}))
        else:
            results = unmask.generate(model, texts, **shared)
    if args.trace:
        save_trace(args.trace, results, model, said)
    if args.html:
        write_html(args.html, results, model, said)
    shown = []
    for text, result in zip(texts, results, strict=True):
        body = result.text if result.text is not None else " ".join(map(str, result.tokens))
        shown.append(body if args.fill else f"{text}{body}")
    emit(args, [result.to_dict() for result in results], "\n---\n".join(shown))


def read_places(given: list[str] | None) -> dict[int, str] | None:
    """``["0:The"]`` as ``{0: "The"}``."""
    if given is None:
        return None
    found = {}
    for entry in given:
        place, colon, token = entry.partition(":")
        if not colon or not place.isdigit():
            raise UserError(f"--force {entry} is not understood; give PLACE:TOKEN, such as 0:The")
        found[int(place)] = token
    return found


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

    result = compare_results(args.first, args.second)
    emit(args, result, in_words(result))


def lm_eval(args: list[str] | argparse.Namespace) -> int:
    """lm-evaluation-harness's command line; its model `unmask` takes --model_args path=RUN,method=...,guidance=..."""
    from unmask.evaluation.lm_eval_adapter import command

    return command(args if isinstance(args, list) else [])


def convert(args: argparse.Namespace) -> None:
    """Converts published weights into a model folder, or with --export one of our models into theirs."""
    from unmask.interop.convert import bring_in, send_out

    options = {name: value for name in ("config", "size", "rope", "tokenizer") if (value := getattr(args, name))}
    if args.export:
        out = send_out(args.format, args.source, args.out, **options)
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
    "tune": tune,
    "bench": bench,
}
