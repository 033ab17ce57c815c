"""What `unmask bench train` and `unmask bench losses` take; no heavy import, since their help is shown from here.

    unmask bench train --size 6M --against plain --out bench.json
    unmask bench losses --recipe demo-mdm --data runs/demo/data --out losses
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from unmask.bench.kit.folders import check_folders
from unmask.errors import UserError
from unmask.options import NEEDED, Options, option

ARMS = ("unmask", "plain", "transformers")  # ways to take a training step
PRECISIONS = ("auto", "fp32", "bf16")
MANY_STEPS = 1_000_000  # of the learning-rate schedule; a benchmark ends before


@dataclass(frozen=True)
class BenchOptions(Options):
    """A training step: speed and memory, in turns with other ways to do it.

    Of batch, context, rounds and steps 0 is 4, 512, 5 and 3, or with --memory 8, 2048, 1 and 2.
    """

    does = "unmask.bench.train.measure:bench_train"

    size: list[str] = option([], "6M (default), ..., or LAYERSxHEADSxWIDTH; repeatable")
    kind: str = option("mdm", "the objective", one_of=("mdm", "arm"))
    against: list[str] = option([], "plain, transformers; repeatable", metavar="ARM", one_of=ARMS[1:])
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
    masking: str = option("bernoulli", "by chance, or a set count: fixed", one_of=("bernoulli", "fixed"))
    activation_checkpointing: bool = option(False, "our step with it")
    precision: list[str] = option(
        ["auto"], "auto, fp32 or bf16; repeatable: each arm in each", metavar="TYPE", one_of=PRECISIONS
    )
    device: str = option("auto", "auto, cpu, cuda")
    profile: str | None = option(None, "phases, operators, and a Chrome trace of our step", metavar="FILE")
    out: str | None = option(None, "the result as JSON", metavar="FILE")
    plot: str | None = option(None, "and as a picture, .png or .svg", metavar="FILE")

    def resolved(self) -> BenchOptions:
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


@dataclass(frozen=True)
class LossBenchOptions(Options):
    """What training in bf16 does to the loss: pairs of equal seed."""

    does = "unmask.bench.train.losses:bench_losses"

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
