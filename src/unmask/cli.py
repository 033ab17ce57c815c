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
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from unmask._version import __version__
from unmask.errors import SaidElsewhere, UserError, nearest

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
ORDERS = "ancestral, confidence, margin, entropy, random, left-to-right"


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
        options = [o for action in verbs[args.verb]._actions for o in action.option_strings]
        raise UserError(f"unknown argument {rest[0]}{nearest(rest[0], options)}; see unmask {args.verb} --help")
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
    p.add_argument("--length", type=int, default=None, help="new tokens; by default 64 or what fits, with --fill none")
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
    p.add_argument("texts", nargs="+", metavar="TEXT", help="each is scored on its own")
    p.add_argument("--context", default="", help="text before each TEXT, not scored")
    p.add_argument("--method", default="mc-fixed", help="mc-fixed, mc-bernoulli, chain-rule, exact")
    p.add_argument("--guidance", type=float, default=0.0, help="w of classifier-free guidance; 0: off")
    p.add_argument("--draws", type=int, default=128, help="Monte Carlo draws")
    p.add_argument("--seed", type=int, default=0, help="of the masks")

    p = verb("convert", convert, "bring published weights in")
    p.add_argument("format", choices=["smdm"], help="smdm: the published checkpoints of the paper")
    p.add_argument("weights", metavar="WEIGHTS", help="a safetensors file")
    p.add_argument("--config", metavar="JSON", help="its dimensions")
    p.add_argument("--size", help="or one of the paper's sizes, such as 170M")
    p.add_argument("--rope", default="bf16", choices=["bf16", "fp32"], help="rotary tables")
    p.add_argument("--tokenizer", help="a folder or tokenizer.json to put beside")
    p.add_argument("--out", required=True, metavar="FOLDER", help="the model folder to make")

    p = verb("plan", plan, "memory, steps, FLOPs and time of a run, on paper")
    p.add_argument("size", metavar="SIZE", help="6M .. 2121M")
    p.add_argument("--tokens", type=float, required=True, help="to train on, such as 10e9")
    p.add_argument("--gpus", type=int, default=1, help="devices")
    p.add_argument("--kind", default="mdm", help="mdm or arm")
    p.add_argument("--batch", type=int, default=256, help="sequences a step, over all devices")
    p.add_argument("--micro-batch", type=int, default=0, help="sequences a backward pass; 0: a device's share")
    p.add_argument("--context", type=int, default=2048, help="tokens a sequence")
    p.add_argument("--vocab", type=int, default=32000, help="tokens of the vocabulary")
    p.add_argument("--precision", default="bf16", help="bf16 (autocast) or fp32")
    p.add_argument("--device", default="cuda", help="cuda or cpu: how large the head's chunks are")
    p.add_argument("--parallel", default="ddp", help="ddp or fsdp")
    p.add_argument("--shard", type=int, default=0, help="fsdp: devices that share one copy; 0: all")
    p.add_argument("--activation-checkpointing", action="store_true", help="keep less, compute more")
    p.add_argument("--random-length", type=float, default=0.01, help="share of sequences of a random length")
    p.add_argument("--peak", type=float, default=None, metavar="TFLOPS", help="of a device; by default measured here")
    p.add_argument("--efficiency", type=float, default=0.4, help="share of the peak that is reached")

    p = verb("bench", bench, "measure speed and memory side by side")
    p.add_argument("subject", choices=["train"], help="train: a training step")
    p.add_argument("--size", action="append", default=None, help="6M (default), ..., or LAYERSxHEADSxWIDTH; repeatable")
    p.add_argument("--kind", default="mdm", choices=["mdm", "arm"])
    p.add_argument("--against", action="append", default=[], metavar="ARM", help="plain, transformers; repeatable")
    p.add_argument("--ranks", type=int, default=1, help="also so many processes, which share the threads")
    p.add_argument("--batch", type=int, default=0, help="sequences a step; 0: 4")
    p.add_argument("--context", type=int, default=0, help="tokens a sequence; 0: 512")
    p.add_argument("--vocab", type=int, default=32000, help="tokens of the vocabulary")
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    p.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="our step compiled")
    p.add_argument("--rounds", type=int, default=0, help="turns of each arm; 0: 5")
    p.add_argument("--steps", type=int, default=0, help="steps a turn; 0: 3")
    p.add_argument("--warmup", type=int, default=2, help="steps before the first turn")
    p.add_argument("--memory", action="store_true", help="for peak memory: batch 8 x 2048, one turn of two steps")
    p.add_argument("--random-length", type=float, default=0.0, help="share of sequences of a random length")
    p.add_argument("--masking", default="bernoulli", choices=["bernoulli", "fixed"])
    p.add_argument("--activation-checkpointing", action="store_true", help="our step with it")
    p.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    p.add_argument("--device", default="auto", help="auto, cpu, cuda")
    p.add_argument("--profile", default=None, metavar="FILE", help="phases, operators, and a Chrome trace of our step")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON")
    p.add_argument("--plot", default=None, metavar="FILE", help="and as a picture, .png or .svg")
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
    if args.gap is not None and not args.fill:
        raise UserError("--gap says how long the gaps of --fill are; give --fill, or --length for a continuation")
    if args.samples < 1:
        raise UserError(f"--samples is {args.samples}; give at least 1")
    model = unmask.load(args.model)
    names = ("length", "steps", "order", "quota", "block", "guidance", "temperature", "seed")
    shared = {name: getattr(args, name) for name in names}
    texts = [text for text in args.fill or args.prompt or [""] for _ in range(args.samples)]
    with Watcher(model) if args.watch else nullcontext() as watch:
        shared["watch"] = watch
        if args.fill:
            results = infill(model, texts, **shared, **({} if args.gap is None else {"gap": args.gap}))
        else:
            results = unmask.generate(model, texts, **shared)
    shown = []
    for text, result in zip(texts, results, strict=True):
        body = result.text if result.text is not None else " ".join(map(str, result.tokens))
        shown.append(body if args.fill else f"{text}{body}")
    emit(args, [result.to_dict() for result in results], "\n---\n".join(shown))


def score(args: argparse.Namespace) -> None:
    """Log-likelihood of texts with its standard error, in nats per token and bits per byte."""
    import unmask

    model = unmask.load(args.model)
    pairs = [(args.context, text) for text in args.texts]
    results = unmask.score(model, pairs, method=args.method, guidance=args.guidance, draws=args.draws, seed=args.seed)
    lines = []
    for text, result in zip(args.texts, results, strict=True):
        sign = "<=" if result.is_bound else "= "
        per_byte = f"{result.bits_per_byte:.4f} bits/byte, " if result.bits_per_byte is not None else ""
        lines.append(
            f"-log p {sign} {-result.logprob:.3f} nats (se {result.se:.3f}), {result.nats_per_token:.4f} nats/token, "
            f"{per_byte}{result.n_tokens} tokens, {result.method}: {text[:60]!r}"
        )
    emit(args, [result.to_dict() for result in results], "\n".join(lines))


def convert(args: argparse.Namespace) -> None:
    """Converts published weights into a model folder."""
    from unmask.interop.smdm import convert as convert_smdm

    if (args.config is None) == (args.size is None):
        raise UserError("give exactly one of --config JSON and --size NAME")
    out = convert_smdm(args.weights, args.config, args.out, rope=args.rope, tokenizer=args.tokenizer, size=args.size)
    import unmask

    model = unmask.load(out)
    result = {"out": str(out), "kind": model.kind, "parameters": model.config.n_params}
    emit(args, result, f"{out}: {model.kind}, {model.config.n_params:,} parameters")


def bench(args: argparse.Namespace) -> None:
    """Tokens/s, share of the matmul peak and peak memory of a training step, in turns with other ways to do it."""
    from unmask.bench.table import table
    from unmask.bench.train import BenchOptions, bench_train

    fields = {name: value for name, value in vars(args).items() if name not in ("verb", "function", "json", "subject")}
    report = bench_train(BenchOptions(**{**fields, "size": args.size or ["6M"]}))
    emit(args, report, table(report))


def plan(args: argparse.Namespace) -> None:
    """What a run will take: memory a device by use, steps, FLOPs by both rules, time at a stated efficiency."""
    from unmask.training.plan import PlanOptions, describe
    from unmask.training.plan import plan as plan_run

    found = plan_run(PlanOptions(**{k: v for k, v in vars(args).items() if k not in ("verb", "function", "json")}))
    emit(args, found.to_dict(), describe(found))
