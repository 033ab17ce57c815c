"""What `unmask tune` and the verbs of `unmask bench` take; no heavy import, since their help is shown from here.

    unmask bench train --size 6M --against plain --out bench.json
    unmask bench decode runs/demo/mdm --arm runs/demo/arm --data runs/demo/data
    unmask tune runs/demo/mdm --data runs/demo/data
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unmask.errors import UserError
from unmask.model.placement_options import PlacementOptions, TypesOptions
from unmask.options import NEEDED, Options, Result, argument, option

MODEL = ("RUN", "a run, a checkpoint or a model folder")
ARMS = ("unmask", "plain", "transformers")  # ways to take a training step
PRECISIONS = Literal["auto", "fp32", "bf16"]


def check_folders(*paths: str | None) -> None:
    """Raises `UserError` for a file whose folder is not there."""
    for path in paths:
        if path and not Path(path).resolve().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; make it, or give another file")


@dataclass(frozen=True)
class TrainBenchOptions(Options):
    """A training step: speed and memory, in turns with other ways to do it.

    Of batch, context, rounds and steps 0 is 4, 512, 5 and 3, or with --memory 8, 2048, 1 and 2.
    """

    size: list[str] = option([], "6M (default), ..., or LAYERSxHEADSxWIDTH; repeatable")
    kind: Literal["mdm", "arm"] = option("mdm", "the objective")
    against: list[Literal["plain", "transformers"]] = option([], "plain, transformers; repeatable", metavar="ARM")
    against_checkout: list[str] = option(
        [], "our step of another checkout: PATH, PATH:fp32, PATH:fp32:eager; repeatable", metavar="PATH"
    )
    tiny: bool = option(False, "small models: every way to fill the cores with them")
    ranks: int = option(1, "also so many processes, which share the threads", least=1)
    batch: int = option(0, "sequences a step; 0: 4", least=0)
    context: int = option(0, "tokens a sequence; 0: 512", least=0)
    vocab: int = option(0, "tokens of the vocabulary; 0: 32,000", least=0)
    threads: int = option(0, "0: all cores", least=0)
    compile: bool = option(True, "our step compiled")
    rounds: int = option(0, "turns of each arm; 0: 5", least=0)
    steps: int = option(0, "steps a turn; 0: 3", least=0)
    warmup: int = option(2, "steps before the first turn", least=1)
    memory: bool = option(False, "for peak memory: batch 8 x 2048, one turn of two steps")
    random_length: float = option(0.0, "share of sequences of a random length", least=0, most=1)
    masking: Literal["bernoulli", "fixed"] = option("bernoulli", "how many tokens are masked: by chance, or a set count")
    activation_checkpointing: bool = option(False, "our step with it")
    precision: list[PRECISIONS] = option(["auto"], "auto, fp32 or bf16; repeatable: each arm in each", metavar="TYPE")
    device: str = option("auto", "auto, cpu, cuda")
    profile: str | None = option(None, "phases, operators, and a Chrome trace of our step", metavar="FILE")
    out: str | None = option(None, "the result as JSON", metavar="FILE")
    plot: str | None = option(None, "and as a picture, .png or .svg", metavar="FILE")

    def resolved(self) -> TrainBenchOptions:
        """With the defaults filled in. Raises `UserError` for what cannot be measured."""
        usual = {"batch": 8, "context": 2048, "rounds": 1, "steps": 2} if self.memory else {}
        usual = {"batch": 4, "context": 512, "rounds": 5, "steps": 3, "vocab": 32000} | usual
        usual["threads"] = os.cpu_count() or 1
        chosen: dict[str, Any] = {name: value for name, value in usual.items() if not getattr(self, name)}
        chosen |= {} if self.size else {"size": ["6M"]}
        filled = dataclasses.replace(self, **chosen)
        if filled.threads % filled.ranks or filled.batch % filled.ranks:
            raise UserError(f"--ranks {filled.ranks} must divide --threads {filled.threads} and --batch {filled.batch}")
        if filled.ranks > 1 and filled.device == "cuda":
            raise UserError("--ranks measures processes on CPU cores; on GPUs use torchrun with unmask train")
        check_folders(filled.out, filled.plot, filled.profile)
        return filled

    def run(self) -> Result:
        from unmask.bench.train import bench_train, in_words

        measured = bench_train(self)
        return Result(measured, in_words(measured))


@dataclass(frozen=True)
class LossBenchOptions(Options):
    """What training in bf16 does to the loss: pairs of equal seed."""

    recipe: str = option(NEEDED, "a YAML file, or the name of a shipped recipe")
    data: str = option(NEEDED, "prepared data", metavar="FOLDER")
    out: str = option(NEEDED, "runs and losses.json; a stopped one goes on", metavar="FOLDER")
    seeds: int = option(3, "pairs; an interval needs two", least=2)
    set: list[str] = option([], "of the recipe; repeatable", metavar="KEY=VALUE")
    threads: int = option(1, "of each run; 0: all cores", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in self.set:
            key, equals, _ = setting.partition("=")
            if not equals:
                raise UserError(f"--set {setting} is not KEY=VALUE, such as model.size=6M", field="set")
            if key in ("seed", "precision", "data", "out", "threads"):
                raise UserError(f"--set {key} is what this benchmark sets itself; leave it out", field="set")

    def run(self) -> Result:
        from unmask.bench.losses import bench_losses, in_words

        measured = bench_losses(self)
        return Result(measured, in_words(measured))


@dataclass(frozen=True)
class ScoreBenchOptions(TypesOptions):
    """Likelihoods: our way against the reference's, at equal error; of several types these against each other."""

    model: str = argument(*MODEL)
    items: int = option(12, "questions of each benchmark", least=1)
    draws: list[int] = option([32, 128], "masks of the reference", least=1)
    repeats: int = option(5, "seeds for the errors", least=1)
    rounds: int = option(3, "turns for the times", least=1)
    sizes: list[str] = option(["6M", "19M"], "of the chain rule's models", flag="--size")
    chain_items: int = option(4, "requests of each benchmark for the chain rule", least=1)
    threads: int = option(0, "0: all cores", least=0)
    seed: int = option(0, "of the masks")
    out: str | None = option(None, "the result as JSON", metavar="FILE")

    def run(self) -> Result:
        from unmask.bench.score import bench_score, in_words

        measured = bench_score(self)
        return Result(measured, in_words(measured))


@dataclass(frozen=True)
class DecodeBenchOptions(TypesOptions):
    """Every decoding rule and cache: speed and quality, beside an autoregressive twin.

    Settings are measured in each type; the first one is the table's own. Lengths and prompts that exceed a model's
    context together are left out.
    """

    model: str = argument(*MODEL)
    data: str = option(NEEDED, "prepared data; its validation split gives prompts", metavar="FOLDER")
    arm: str | None = option(None, "the autoregressive twin, of the same tokenizer", metavar="RUN")
    judge: str = option("smollm2", "who reads the samples: smollm2, an autoregressive RUN, or none")
    length: list[int] = option([], "new tokens; repeatable; half the context", least=1)
    prompt: list[int] = option([], "tokens of it; repeatable; a quarter", least=0)
    batch: list[int] = option([1, 8], "rows a call; repeatable", least=1)
    samples: int = option(128, "texts whose quality is measured, of each setting", least=2)
    span: int = option(3, "tokens of a gap in held-out text", least=1)
    gaps: int = option(256, "gaps to fill; 0: none", least=0)
    temperature: list[float] = option([1.0, 0.7, 0.5], "repeatable", least=0)
    rounds: int = option(5, "turns of each setting", least=1)
    only: list[str] = option([], "settings by name: 'confidence*'; the twin is always there", metavar="PATTERN")
    transformers: bool = option(True, "without transformers", flag="--no-transformers")
    seed: int = option(0, "of the sampling noise")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the result as JSON; a stopped run goes on", metavar="FILE")
    plot: str | None = option(None, "and as a picture, .png or .svg", metavar="FILE")

    def check(self) -> None:
        """Raises `UserError` for what cannot be measured."""
        from unmask.bench.number_types import check_types

        check_types(self.dtype, self.device)
        if not self.temperature:
            raise UserError("--temperature: give at least one, each 0 or more", field="temperature")
        check_folders(self.out, self.plot)

    def run(self) -> Result:
        from unmask.bench.decode import bench_decode, in_words

        measured = bench_decode(self)
        return Result(measured, in_words(measured))


@dataclass(frozen=True)
class TuneOptions(PlacementOptions):
    """Picks rule, threshold and steps for a speed or quality target, and writes them into the model folder."""

    model: str = argument(*MODEL)
    target: Literal["speed", "quality"] = option("speed", "speed (of at least --min-quality), or quality (--min-speed)")
    min_quality: float = option(0.9, "best perplexity per byte over that of the choice", above=0, most=1)
    min_speed: float = option(0.0, "useful tokens/s", least=0, metavar="RATE")
    sweep: str | None = option(None, "what unmask bench decode --out wrote", flag="--from", metavar="FILE")
    data: str | None = option(None, "or prepared data, for a sweep now", metavar="FOLDER")
    judge: str = option("smollm2", "smollm2, or an autoregressive RUN")
    length: int | None = option(None, "new tokens; half the context", least=1)
    prompt: int | None = option(None, "tokens of it; a quarter of the context", least=0)
    batch: int = option(1, "rows a call", least=1)
    samples: int = option(128, "texts whose quality is measured, of each setting", least=2)
    temperature: float = option(1.0, "of the tokens drawn; no other is picked", least=0)
    rounds: int = option(5, "turns of each setting", least=1)
    only: list[str] = option([], "settings by name: 'confidence*'", metavar="PATTERN")
    seed: int = option(0, "of the sampling noise")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the sweep as JSON; a stopped one goes on", metavar="FILE")
    show: bool = option(False, "only say what the model's defaults are")
    reset: bool = option(False, "take them away")

    def check(self) -> None:
        """Raises `UserError` for what cannot be tuned for."""
        from unmask.model.placement import check_dtype, choose_device

        check_dtype(self.dtype)
        choose_device(self.device)
        if (self.sweep is None) == (self.data is None):
            raise UserError("give either --data FOLDER, to measure, or --from FILE, of unmask bench decode")

    def run(self) -> Result:
        from unmask.bench.tune import in_words, tune

        tuned = tune(self)
        return Result(tuned, in_words(tuned))
