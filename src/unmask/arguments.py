"""The words of the `unmask` command: each verb's arguments with their defaults and what they mean.

    parser, verbs = build_parser(functions)

No heavy import: `unmask --help` stays under a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from unmask._version import __version__
from unmask.errors import UserError
from unmask.evaluation import OPTIONS
from unmask.experiments.arguments import add_experiment
from unmask.scaling.arguments import add_scale
from unmask.settings import listed_recipes

Function = Callable[[Any], int | None]
ORDERS = "ancestral, first-hitting, confidence, margin, entropy, high-entropy, random, left-to-right, dilated"
QUOTAS = "paper, even, threshold:0.9, factor:1, entropy-bounded:0.1, klass"
ELIGIBLE = "all, block:32"
REVISIONS = "remdm-cap, remdm-rescale, remdm-conf, remdm-loop, p2, edit"
TASKS = "hellaswag, race, siqa, arc_easy, piqa, openbookqa, boolq, lambada, generation, temporal"

TRAIN_EPILOG = """\
Any key of the recipe can be given, before or behind it, with a dot between a group and its key:

  unmask train demo-mdm --data data/sotu --out runs/mdm --steps 200 --model.n_layer 4 --optimizer.lr 1e-3
  unmask train runs/mdm --resume
  unmask train runs/mdm --resume --steps 400      (longer; schedules constant and wsd)
  unmask train runs/mdm --fork runs/mdm@100 --out runs/branch --optimizer.schedule cooldown      (a new run from there)

Values are as in YAML: numbers, true, null, words, '{rank: 16, alpha: 32}' for a whole group. The budget (steps, tokens,
flops or epochs) replaces the recipe's. All keys with their defaults are in docs/training.md.

recipes:
"""


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest choice."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if isinstance(action, argparse.BooleanOptionalAction):
            return f"{action.help} (default: {action.option_strings[0 if action.default else -1]})"
        # A flag says what it changes, an empty list or text nothing.
        says_nothing = action.nargs == 0 or action.default in (None, False, [], "")
        return action.help if says_nothing else super()._get_help_string(action)


class HelpInLines(Help, argparse.RawDescriptionHelpFormatter):
    """The same, with lines that stay as they are around the options."""


def add_rules(p: argparse.ArgumentParser) -> None:
    """The options of decoding. None of them has a default here: a model may have its own (`unmask tune`)."""
    p.add_argument("--steps", type=int, default=None, help="denoising steps; by default one per new token, at most 128")
    p.add_argument("--order", default=None, help=f"{ORDERS}; by default ancestral")
    p.add_argument("--quota", default=None, help=f"how many tokens a step commits: {QUOTAS}; by default paper")
    p.add_argument("--threshold", type=float, default=None, help="commit whatever is more probable; short for --quota")
    p.add_argument("--order-noise", type=float, default=None, help="annealed randomness of the order")
    p.add_argument("--block", type=int, default=None, help="tokens a block, blocks from left to right")
    p.add_argument("--eligible", default=None, help=f"where tokens may be written: {ELIGIBLE}; --block N is block:N")
    p.add_argument("--revise", default=None, help=f"take tokens back: {REVISIONS}")
    p.add_argument("--cache", default=None, help="what is not run again: reuse, prefix, dual:4 (all, every 4 passes)")
    p.add_argument("--guidance", type=float, default=None, help="w of classifier-free guidance; 0: off, one pass")
    p.add_argument("--guidance-mode", default=None, help="without the prompt: mask (default) or drop it")
    p.add_argument("--guidance-schedule", default=None, help="of w: constant (default), linear, cosine, falling")
    p.add_argument("--guidance-interval", type=float, nargs=2, default=None, metavar=("LOW", "HIGH"), help="of t")
    p.add_argument("--negative", default=None, metavar="TEXT", help="a prompt that guidance gets away from")
    p.add_argument("--temperature", type=float, default=None, help="0: always the likeliest token; by default 1")
    p.add_argument("--top-p", type=float, default=None, help="only the likeliest tokens that hold this much")
    p.add_argument("--top-k", type=int, default=None, help="only so many of the likeliest tokens")
    p.add_argument("--eos", default=None, help="at an end of sequence: fill (MDM), truncate, stop (ARM), suppress")
    p.add_argument("--stop", action="append", default=None, metavar="TEXT", help="end before this text; repeatable")
    p.add_argument("--ban", action="append", default=None, metavar="TOKEN", help="never this token; repeatable")
    p.add_argument("--force", action="append", default=None, metavar="PLACE:TOKEN", help="this token there; repeatable")
    p.add_argument("--pattern", default=None, metavar="REGEX", help="what the new text (or each gap) must match")
    p.add_argument("--choice", action="append", default=None, metavar="TEXT", help="one of these texts; repeatable")
    p.add_argument("--special-tokens", action="store_true", default=None, help="those a text spells (</s>) are ids")


def add_verify(p: argparse.ArgumentParser) -> None:
    """Of what loads a model."""
    words = "check the files of a checkpoint against their sums; by default those of at most 1 GiB"
    p.add_argument("--verify", action=argparse.BooleanOptionalAction, default=None, help=words)


def add_placement(p: argparse.ArgumentParser, dtype: str | None = "one") -> None:
    """Where a model lies and in which type of number; `dtype` "many": several are measured side by side."""
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; auto: CUDA where there is one")
    words = "of the weights: fp32, bf16, or auto: bf16 where that is faster"
    if dtype == "many":
        p.add_argument("--dtype", action="append", default=None, help=f"{words}; repeatable, side by side; fp32")
    else:
        p.add_argument("--dtype", default="fp32", help=words)


def build_parser(functions: dict[str, Function]) -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and those of its verbs by name; `functions` run them and say what they do."""
    parser = Parser(prog="unmask", description="Masked diffusion language models: train, sample, score.")
    parser.add_argument("--version", action="version", version=f"unmask {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    verbs: dict[str, Parser] = {}

    def verb(name: str, help: str) -> Parser:
        function = functions[name]
        made = subparsers.add_parser(name, help=help, description=function.__doc__, formatter_class=Help)
        made.set_defaults(function=function)
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        verbs[name] = made
        return made

    p = verb("prepare", "text to packed, memory-mapped tokens")
    p.add_argument("sources", nargs="+", metavar="SOURCE", help="files, folders, globs, hf:NAME, or sotu")
    p.add_argument("--out", required=True, metavar="FOLDER", help="the data folder to make")
    p.add_argument("--tokenizer", default="bpe:4096", help="bytes, bpe:SIZE, a folder, or a hub name")
    p.add_argument("--field", default="text", help="the text's field in JSON lines, parquet and hub data")
    p.add_argument("--date-field", default="date", help="the date's field there")
    p.add_argument("--split", default="random:0.05", help="random:SHARE, date:YEAR (held out since then), field:NAME")
    p.add_argument("--by", default=None, metavar="FIELD", help="also hold validation apart by this field's values")
    p.add_argument("--seed", type=int, default=0, help="of the random split")
    p.add_argument("--workers", type=int, default=0, help="processes; 0: by size and cores")
    p.add_argument("--limit-docs", type=int, default=None, help="only the first so many documents")
    p.add_argument("--shard-tokens", type=int, default=100_000_000, help="tokens a file")
    p.add_argument("--no-dedup", action="store_true", help="keep documents that stand there twice")
    p.add_argument("--strict", action="store_true", help="a file that is not UTF-8 is fatal")
    p.add_argument("--force", action="store_true", help="replace a folder prepared otherwise")

    p = verb("train", "train an MDM or ARM by a recipe")
    p.usage = "unmask train RECIPE [--KEY VALUE ...] [--resume] [--dry-run] [--json]"
    p.formatter_class = HelpInLines
    p.epilog = TRAIN_EPILOG + listed_recipes().replace("%", "%%")
    what = "a YAML file, the name of a recipe below, or with --resume a run's folder"
    p.add_argument("recipe", nargs="?", metavar="RECIPE", help=what)
    p.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, bit-exactly")
    p.add_argument("--dry-run", action="store_true", help="only show the resolved recipe and what it will take")

    p = verb("sample", "generate text, or fill gaps in one")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("--prompt", action="append", default=None, help="may be given several times: one batch")
    p.add_argument("--ids", action="append", default=None, metavar="IDS", help="token ids: '1 2 3'; repeatable")
    p.add_argument("--fill", action="append", default=None, metavar="TEXT", help="a text with gaps: The ____ of")
    p.add_argument("--gap", type=int, default=None, help="tokens a gap; by default 3")
    p.add_argument("--prompts", default=None, metavar="FILE", help="a prompt a line, -: stdin; results are JSON lines")
    p.add_argument("--jsonl", action="store_true", help="--prompts are JSON, as those named .jsonl (docs/decoding.md)")
    p.add_argument("--out", default=None, metavar="FILE", help="of --prompts: where results go; a killed run goes on")
    p.add_argument("--batch", type=int, default=None, help="of --prompts: lines at once, which changes no result; 16")
    p.add_argument("--length", type=int, default=None, help="new tokens; by default 64 or what fits, with --fill none")
    add_rules(p)
    p.add_argument("--samples", type=int, default=1, help="of each prompt")
    p.add_argument("--seed", type=int, default=0, help="of the sampling noise")
    p.add_argument("--watch", action="store_true", help="show the canvas filling in")
    p.add_argument("--trace", default=None, metavar="FILE", help="what was written when, as JSON")
    p.add_argument("--html", default=None, metavar="FILE", help="the same as a page, step by step")
    p.add_argument("--svg", default=None, metavar="FILE", help="the first one as an animated picture")
    add_placement(p)
    add_verify(p)

    p = verb("score", "likelihood of text: a bound (MDM) or exact (ARM)")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("texts", nargs="*", metavar="TEXT", help="each is scored on its own")
    p.add_argument("--file", action="append", default=[], help="a file whose whole text is scored; repeatable")
    p.add_argument("--context", default="", help="text before each TEXT, not scored")
    p.add_argument("--special-tokens", action="store_true", help="those a text spells (</s>) are ids")
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
    add_placement(p)
    add_verify(p)

    p = verb("eval", "the paper's benchmarks, each number with its protocol")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("--tasks", required=True, help=f"comma-separated: {TASKS}, or any of lm-eval's")
    p.add_argument("--limit", type=int, default=None, help="only the first so many questions of each")
    p.add_argument("--method", default=None, help="by default the paper's of each task; see unmask score --help")
    p.add_argument("--guidance", type=float, default=None, help="by default the paper's of each task")
    p.add_argument("--draws", type=int, default=None, help="Monte Carlo draws; 128")
    p.add_argument("--until-se", type=float, default=None, metavar="NATS", help="draw until the error is that small")
    p.add_argument("--seed", type=int, default=0, help="of the masks, and of what is written")
    for name, (kind, help) in OPTIONS.items():
        p.add_argument(f"--{name}", type=kind, default=None, help=help)
    add_placement(p)
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON; a killed evaluation goes on")
    add_verify(p)

    p = verb("compare", "two results of eval: paired differences")
    p.add_argument("first", metavar="A.json", help="a file that unmask eval --out wrote")
    p.add_argument("second", metavar="B.json", help="another one, of the same protocol")
    p.add_argument("--across-dtypes", action="store_true", help="also where one is of fp32 and the other of bf16")

    p = verb("lm-eval", "lm-evaluation-harness with our models: --model unmask")

    p = verb("convert", "published weights in and out")
    p.usage = "unmask convert FORMAT SOURCE [--export] --out OUT [options]"
    p.add_argument("format", choices=["smdm", "llama", "gguf"], help="the paper's checkpoints, LlamaForCausalLM, GGUF")
    p.add_argument("source", metavar="SOURCE", help="a .safetensors (smdm), a folder (llama), a .gguf; or a RUN")
    p.add_argument("--export", action="store_true", help="the way back: SOURCE is a run or model folder of ours")
    p.add_argument("--config", metavar="JSON", help="smdm: its dimensions")
    p.add_argument("--size", help="smdm: or one of the paper's sizes, such as 170M")
    p.add_argument("--rope", default=None, choices=["bf16", "fp32"], help="smdm: rotary tables, by default bf16")
    p.add_argument("--tokenizer", help="a folder or tokenizer.json to put beside")
    p.add_argument("--out", required=True, metavar="OUT", help="the folder to make (with --export smdm: the file)")
    add_verify(p)

    p = verb("plan", "memory, steps, FLOPs and time of a run, on paper")
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

    add_scale(verb("scale", "scaling laws: plan and run a sweep, fit it, report, predict"), verbs, Help)

    add_experiment(verb("experiment", "the paper's findings at our size, one by one; without a name lists them"))

    p = verb("tune", "pick a model's decoding rule and steps by measuring, and write them as its defaults")
    p.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
    p.add_argument("--target", default="speed", help="speed (of at least --min-quality), or quality (--min-speed)")
    p.add_argument("--min-quality", type=float, default=0.9, help="best perplexity per byte over that of the choice")
    p.add_argument("--min-speed", type=float, default=0.0, metavar="RATE", help="useful tokens/s")
    p.add_argument("--from", dest="sweep", default=None, metavar="FILE", help="what unmask bench decode --out wrote")
    p.add_argument("--data", default=None, metavar="FOLDER", help="or prepared data, for a sweep now")
    p.add_argument("--judge", default="smollm2", help="smollm2, or an autoregressive RUN")
    p.add_argument("--length", type=int, default=None, help="new tokens; half the context")
    p.add_argument("--prompt", type=int, default=None, help="tokens of it; a quarter of the context")
    p.add_argument("--batch", type=int, default=1, help="rows a call")
    p.add_argument("--samples", type=int, default=128, help="texts whose quality is measured, of each setting")
    p.add_argument("--temperature", type=float, default=1.0, help="of the tokens drawn; no other is picked")
    p.add_argument("--rounds", type=int, default=5, help="turns of each setting")
    p.add_argument("--only", action="append", default=None, metavar="PATTERN", help="settings by name: 'confidence*'")
    p.add_argument("--seed", type=int, default=0, help="of the sampling noise")
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    p.add_argument("--out", default=None, metavar="FILE", help="the sweep as JSON; a stopped one goes on")
    p.add_argument("--show", action="store_true", help="only say what the model's defaults are")
    p.add_argument("--reset", action="store_true", help="take them away")
    add_placement(p)
    add_verify(p)

    p = verb("bench", "measure side by side")
    subjects = p.add_subparsers(dest="subject", metavar="SUBJECT", required=True, parser_class=Parser)

    def subject(name: str, help: str, model: bool = True, dtype: str | None = "one") -> Parser:
        made = subjects.add_parser(name, help=help, formatter_class=Help)
        if dtype is not None:
            add_placement(made, dtype)
        if model:
            made.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
            add_verify(made)
        made.add_argument("--threads", type=int, default=0, help="0: all cores")
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        verbs[f"bench {name}"] = made
        return made

    p = subject(
        "train", "a training step: speed and memory, in turns with other ways to do it", model=False, dtype=None
    )
    p.add_argument("--size", action="append", default=None, help="6M (default), ..., or LAYERSxHEADSxWIDTH; repeatable")
    p.add_argument("--kind", default="mdm", choices=["mdm", "arm"])
    p.add_argument("--against", action="append", default=[], metavar="ARM", help="plain, transformers; repeatable")
    what = "our step of another checkout: PATH, PATH:fp32, PATH:fp32:eager; repeatable"
    p.add_argument("--against-checkout", action="append", default=[], metavar="PATH", help=what)
    p.add_argument("--tiny", action="store_true", help="small models: every way to fill the cores with them")
    p.add_argument("--ranks", type=int, default=1, help="also so many processes, which share the threads")
    p.add_argument("--batch", type=int, default=0, help="sequences a step; 0: 4")
    p.add_argument("--context", type=int, default=0, help="tokens a sequence; 0: 512")
    p.add_argument("--vocab", type=int, default=0, help="tokens of the vocabulary; 0: 32,000")
    p.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="our step compiled")
    p.add_argument("--rounds", type=int, default=0, help="turns of each arm; 0: 5")
    p.add_argument("--steps", type=int, default=0, help="steps a turn; 0: 3")
    p.add_argument("--warmup", type=int, default=2, help="steps before the first turn")
    p.add_argument("--memory", action="store_true", help="for peak memory: batch 8 x 2048, one turn of two steps")
    p.add_argument("--random-length", type=float, default=0.0, help="share of sequences of a random length")
    p.add_argument("--masking", default="bernoulli", choices=["bernoulli", "fixed"])
    p.add_argument("--activation-checkpointing", action="store_true", help="our step with it")
    what = "auto (default), fp32 or bf16; repeatable: each arm in each"
    p.add_argument("--precision", action="append", default=None, metavar="TYPE", help=what)
    p.add_argument("--device", default="auto", help="auto, cpu, cuda")
    p.add_argument("--profile", default=None, metavar="FILE", help="phases, operators, and a Chrome trace of our step")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON")
    p.add_argument("--plot", default=None, metavar="FILE", help="and as a picture, .png or .svg")
    p = subject("losses", "what training in bf16 does to the loss: pairs of equal seed", model=False, dtype=None)
    p.set_defaults(threads=1)
    p.add_argument("--recipe", required=True, help="a YAML file, or the name of a shipped recipe")
    p.add_argument("--data", required=True, metavar="FOLDER", help="prepared data")
    p.add_argument("--out", required=True, metavar="FOLDER", help="runs and losses.json; a stopped one goes on")
    p.add_argument("--seeds", type=int, default=3, help="pairs")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeatable")
    p = subject("score", "likelihoods: our way against the reference's, at equal error", dtype="many")
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
    p = subject(
        "decode", "every decoding rule and cache: speed and quality, beside an autoregressive twin", dtype="many"
    )
    p.add_argument("--data", required=True, metavar="FOLDER", help="prepared data; its validation split gives prompts")
    p.add_argument("--arm", default=None, metavar="RUN", help="the autoregressive twin, of the same tokenizer")
    p.add_argument("--judge", default="smollm2", help="who reads the samples: smollm2, an autoregressive RUN, or none")
    p.add_argument("--length", type=int, action="append", default=None, help="new tokens; repeatable; half the context")
    p.add_argument("--prompt", type=int, action="append", default=None, help="tokens of it; repeatable; a quarter")
    p.add_argument("--batch", type=int, action="append", default=None, help="rows a call; repeatable; 1 and 8")
    p.add_argument("--samples", type=int, default=128, help="texts whose quality is measured, of each setting")
    p.add_argument("--span", type=int, default=3, help="tokens of a gap in held-out text")
    p.add_argument("--gaps", type=int, default=256, help="gaps to fill; 0: none")
    p.add_argument("--temperature", type=float, action="append", default=None, help="repeatable; 1.0, 0.7 and 0.5")
    p.add_argument("--rounds", type=int, default=5, help="turns of each setting")
    p.add_argument("--only", action="append", default=None, metavar="PATTERN", help="settings by name: 'confidence*'")
    p.add_argument("--no-transformers", action="store_false", dest="transformers", help="without transformers")
    p.add_argument("--seed", type=int, default=0, help="of the sampling noise")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON; a stopped run goes on")
    p.add_argument("--plot", default=None, metavar="FILE", help="and as a picture, .png or .svg")
    p = subject("engine", "decoding on random weights: the reference's sampler, batches, types", False, "many")
    p.add_argument("--size", action="append", default=None, help="6M, 19M, ..., or LAYERSxHEADSxWIDTH; repeatable")
    p.add_argument("--vocab", type=int, default=32000, help="tokens of the vocabulary")
    p.add_argument("--length", type=int, default=256, help="new tokens, against the reference")
    p.add_argument("--steps", type=int, action="append", default=None, help="repeatable; 128 and 256")
    p.add_argument("--guidance", type=float, default=0.0, help="w, on both sides; then with a prompt of 32 tokens")
    p.add_argument("--temperature", type=float, default=1.0, help="of both samplers")
    p.add_argument("--batch", type=int, action="append", default=None, help="of several types; repeatable; 1 and 8")
    p.add_argument("--no-grid", action="store_false", dest="grid", help="leave out lengths, prompts and batches")
    p.add_argument("--grid-size", action="append", default=None, help="of the models there; repeatable; 6M")
    p.add_argument("--grid-length", type=int, action="append", default=None, help="repeatable; 32, 128 and 512")
    p.add_argument("--grid-prompt", type=int, action="append", default=None, help="repeatable; 0, 128 and 512")
    p.add_argument("--grid-batch", type=int, action="append", default=None, help="repeatable; 1 and 4")
    p.add_argument("--no-transformers", action="store_false", dest="transformers", help="without transformers")
    p.add_argument("--rounds", type=int, default=2, help="turns of each arm")
    p.add_argument("--seed", type=int, default=0, help="of the sampling noise")
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON; a stopped run goes on")
    p = subject("llama", "a Llama-layout model against transformers on LAMBADA")
    p.add_argument("--items", type=int, default=200, help="questions")
    p.add_argument("--rounds", type=int, default=4, help="turns that the questions are cut into")
    p.add_argument("--batch-size", type=int, default=8, help="of transformers")
    return parser, verbs
