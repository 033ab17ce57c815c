"""The `unmask` command: one function a verb, no logic, no heavy import before a verb runs.

    unmask prepare sotu --out data/sotu --tokenizer bpe:1024
    unmask train recipes/demo-mdm.yaml --data data/sotu --out runs/mdm

Results go to stdout (``--json`` for machines), progress and errors to stderr. Exit status: 0; 2 for bad input; 130 and
143 when stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from unmask._version import __version__
from unmask.errors import SaidElsewhere, UserError, nearest

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
ORDERS = "ancestral, confidence, margin, entropy, random, left-to-right"
TASKS = "hellaswag, race, siqa, arc_easy, piqa, openbookqa, boolq, lambada"


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest choice."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits with its status."""
    try:
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
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"unmask: error: {error.filename or 'a file'}: {error.strerror}; free some space", file=sys.stderr)
        status = 2
    sys.exit(status)


def run(argv: list[str]) -> int:
    if argv[:1] == ["lm-eval"]:  # all that follows is the harness's
        return lm_eval(argv[1:])
    parser, verbs = build_parser()
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


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="unmask", description="Masked diffusion language models: train, sample, score.")
    parser.add_argument("--version", action="version", version=f"unmask {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    verbs: dict[str, Parser] = {}

    def verb(name: str, function: Callable[[argparse.Namespace], int | None], help: str) -> Parser:
        made = subparsers.add_parser(name, help=help, description=function.__doc__, formatter_class=Help)
        made.set_defaults(function=function)
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        verbs[name] = made
        return made

    p = verb("prepare", prepare, "text to packed, memory-mapped tokens")
    p.add_argument("sources", nargs="+", metavar="SOURCE", help="files, folders, globs, hf:NAME, or sotu")
    p.add_argument("--out", required=True, metavar="FOLDER", help="the data folder to make")
    p.add_argument("--tokenizer", default="bpe:4096", help="bytes, bpe:SIZE, a folder, or a hub name")
    p.add_argument("--field", default="text", help="the text's field in JSON lines, parquet and hub data")
    p.add_argument("--date-field", default="date", help="the date's field there")
    p.add_argument("--split", default="random:0.05", help="random:SHARE, or date:YEAR (validation since then)")
    p.add_argument("--seed", type=int, default=0, help="of the random split")
    p.add_argument("--workers", type=int, default=0, help="processes; 0: by size and cores")
    p.add_argument("--limit-docs", type=int, default=None, help="only the first so many documents")
    p.add_argument("--shard-tokens", type=int, default=100_000_000, help="tokens a file")
    p.add_argument("--no-dedup", action="store_true", help="keep documents that stand there twice")
    p.add_argument("--strict", action="store_true", help="a file that is not UTF-8 is fatal")
    p.add_argument("--force", action="store_true", help="replace a folder prepared otherwise")

    p = verb("train", train, "train an MDM or ARM by a recipe")
    p.usage = "unmask train RECIPE [--resume] [--json] [--KEY VALUE ...]"
    p.epilog = (
        "Any key of the recipe can be given: --steps 200 --model.n_layer 4 --optimizer.lr 1e-3 (docs/training.md)"
    )
    p.add_argument("recipe", metavar="RECIPE", help="a YAML file; see recipes/")
    p.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, bit-exactly")

    p = verb("sample", sample, "generate text, or fill gaps in one")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("--prompt", action="append", default=None, help="may be given several times: one batch")
    p.add_argument("--fill", action="append", default=None, metavar="TEXT", help="a text with gaps: The ____ of")
    p.add_argument("--gap", type=int, default=None, help="tokens a gap; by default 3")
    p.add_argument("--length", type=int, default=None, help="new tokens; by default 64, or what the context leaves")
    p.add_argument("--steps", type=int, default=None, help="denoising steps; by default one per new token, at most 128")
    p.add_argument("--order", default="ancestral", help=ORDERS)
    p.add_argument("--block", type=int, default=None, help="tokens a block, blocks from left to right")
    p.add_argument("--quota", default=None, help="how many tokens a step commits: paper (default), or even (for gaps)")
    p.add_argument("--guidance", type=float, default=0.0, help="w of classifier-free guidance; 0: off, one pass")
    p.add_argument("--temperature", type=float, default=1.0, help="0: always the likeliest token")
    p.add_argument("--samples", type=int, default=1, help="of each prompt")
    p.add_argument("--seed", type=int, default=0, help="of the sampling noise")
    p.add_argument("--watch", action="store_true", help="show the canvas filling in")

    p = verb("score", score, "likelihood of text: a bound (MDM) or exact (ARM)")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("texts", nargs="*", metavar="TEXT", help="each is scored on its own")
    p.add_argument("--file", action="append", default=[], help="a file whose whole text is scored; repeatable")
    p.add_argument("--context", default="", help="text before each TEXT, not scored")
    p.add_argument("--rolling", action="store_true", help="texts longer than the model's context, in windows")
    p.add_argument("--window", type=int, default=None, help="rolling: tokens a pass; by default the model's context")
    p.add_argument("--overlap", type=int, default=None, help="rolling: context a later window begins with; 1")
    p.add_argument("--method", default="mc-fixed", help="mc-fixed, mc-bernoulli, chain-rule, order-mixture, exact")
    p.add_argument("--order", default="left-to-right", help="of chain-rule: left-to-right, right-to-left, random")
    p.add_argument("--guidance", type=float, default=0.0, help="w of classifier-free guidance; 0: off")
    p.add_argument("--draws", type=int, default=None, help="masks (128) or orders (8) to draw")
    p.add_argument("--until-se", type=float, default=None, metavar="NATS", help="draw until the error is that small")
    p.add_argument("--greedy", action="store_true", help="say whether greedy decoding writes the text")
    p.add_argument("--seed", type=int, default=0, help="of the masks")

    p = verb("eval", evaluate, "the paper's benchmarks, each number with its protocol")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("--tasks", required=True, help=f"comma-separated: {TASKS}, or any of lm-eval's")
    p.add_argument("--limit", type=int, default=None, help="only the first so many questions of each")
    p.add_argument("--method", default=None, help="by default the paper's of each task; see unmask score --help")
    p.add_argument("--guidance", type=float, default=None, help="by default the paper's of each task")
    p.add_argument("--draws", type=int, default=None, help="Monte Carlo draws; 128")
    p.add_argument("--until-se", type=float, default=None, metavar="NATS", help="draw until the error is that small")
    p.add_argument("--seed", type=int, default=0, help="of the masks")
    p.add_argument("--device", default=None, help="cpu or cuda; by default cuda where there is one")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON; a killed evaluation goes on")

    p = verb("compare", compare, "two results of eval: paired differences")
    p.add_argument("first", metavar="A.json", help="a file that unmask eval --out wrote")
    p.add_argument("second", metavar="B.json", help="another one, of the same protocol")

    p = verb("lm-eval", lm_eval, "lm-evaluation-harness with our models: --model unmask")

    p = verb("convert", convert, "published weights in and out")
    p.usage = "unmask convert FORMAT SOURCE [--export] --out OUT [options]"
    p.add_argument("format", choices=["smdm", "llama", "gguf"], help="the paper's checkpoints, LlamaForCausalLM, GGUF")
    p.add_argument("source", metavar="SOURCE", help="a .safetensors (smdm), a folder (llama), a .gguf; or a RUN")
    p.add_argument("--export", action="store_true", help="the way back: SOURCE is a run or model folder of ours")
    p.add_argument("--config", metavar="JSON", help="smdm: its dimensions")
    p.add_argument("--size", help="smdm: or one of the paper's sizes, such as 170M")
    p.add_argument("--rope", default=None, choices=["bf16", "fp32"], help="smdm: rotary tables, by default bf16")
    p.add_argument("--tokenizer", help="a folder or tokenizer.json to put beside")
    p.add_argument("--out", required=True, metavar="OUT", help="the folder to make (with --export smdm: the file)")
    p = verb("bench", bench, "measure side by side")
    subjects = p.add_subparsers(dest="subject", metavar="SUBJECT", required=True, parser_class=Parser)

    def subject(name: str, help: str) -> Parser:
        made = subjects.add_parser(name, help=help, formatter_class=Help)
        made.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
        made.add_argument("--threads", type=int, default=0, help="0: all cores")
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        verbs[f"bench {name}"] = made
        return made

    p = subject("score", "likelihoods: our way against the reference's, at equal error")
    p.add_argument("--items", type=int, default=12, help="questions of each benchmark")
    p.add_argument("--draws", type=int, action="append", default=None, help="masks of the reference: 32 and 128")
    p.add_argument("--repeats", type=int, default=5, help="seeds for the errors")
    p.add_argument("--rounds", type=int, default=3, help="turns for the times")
    p.add_argument("--size", action="append", dest="sizes", default=None, help="of the chain rule's models; 6M, 19M")
    p.add_argument("--chain-items", type=int, default=4, help="requests of each benchmark for the chain rule")
    p.add_argument("--seed", type=int, default=0, help="of the masks")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON")
    p = subject("estimators", "bias, variance, coverage and time of every estimator on real text")
    p.add_argument("--data", required=True, metavar="FOLDER", help="prepared data; its validation split is scored")
    p.add_argument("--items", type=int, default=24, help="pieces of text")
    p.add_argument("--length", type=int, default=11, help="tokens to score of each; at most 12")
    p.add_argument("--repeats", type=int, default=20, help="seeds")
    p.add_argument("--until-se", type=float, default=1.0, metavar="NATS", help="the stopping rule to check")
    p.add_argument("--seed", type=int, default=0, help="of the masks")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON")
    p.add_argument("--plot", default=None, metavar="FILE", help="and as a picture")
    p = subject("llama", "a Llama-layout model against transformers on LAMBADA")
    p.add_argument("--items", type=int, default=200, help="questions")
    p.add_argument("--rounds", type=int, default=4, help="turns that the questions are cut into")
    p.add_argument("--batch-size", type=int, default=8, help="of transformers")
    return parser, verbs


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
    from unmask.decoding.watch import Watcher

    if args.fill and args.prompt:
        raise UserError("--fill and --prompt do not go together; put the prompt before the gap: 'We the ____'")
    if args.samples < 1:
        raise UserError(f"--samples is {args.samples}; give at least 1")
    model = unmask.load(args.model)
    shared = {name: getattr(args, name) for name in ("steps", "order", "quota", "guidance", "temperature", "seed")}
    texts = [text for text in args.fill or args.prompt or [""] for _ in range(args.samples)]
    with Watcher(model) if args.watch else nullcontext() as watch:
        shared["watch"] = watch
        if args.fill:
            results = infill(model, texts, **shared, **({} if args.gap is None else {"gap": args.gap}))
        else:
            results = unmask.generate(model, texts, length=args.length, block=args.block, **shared)
    shown = []
    for text, result in zip(texts, results, strict=True):
        body = result.text if result.text is not None else " ".join(map(str, result.tokens))
        shown.append(body if args.fill else f"{text}{body}")
    emit(args, [result.to_dict() for result in results], "\n---\n".join(shown))


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
