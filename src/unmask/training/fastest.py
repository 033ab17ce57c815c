"""The fastest way to train one shape on this machine's cores: type, compiled or not, threads x processes.

    best = fastest(recipe)                      # about a minute, once a shape
    recipe = best.recipe(recipe)                # for each of `best.processes` runs side by side
    print(best.in_words())

For whoever trains many small models, such as a sweep: two processes of one thread usually do more than one of two, and
what compiling and bf16 gain depends on the width. Steps are real ones (`trial.py`), on the recipe's own data. The
result is kept in the user's cache by machine, torch, shape and batch, so that a sweep asks once a shape.

Compiling counts: a way is judged by what a whole run takes of the machine, the seconds among them in which a process
compiles (with what others of its shape made before it).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unmask._version import __version__
from unmask.errors import UserError
from unmask.files import cache_folder, parse_json, write_cached
from unmask.model.config import ModelConfig
from unmask.model.number_types import processor_flags, processor_has_bf16
from unmask.provenance import machine, usable_cores
from unmask.terminal import say as say_on_stderr
from unmask.training.compiling import keep_compiled
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import planned_steps
from unmask.training.trial import Way, pretraining

SCHEMA_VERSION = 1
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # of torchrun: a trial's processes train alone


@dataclass(frozen=True)
class Arm:
    """What was measured of one way; rates in tokens/s of the machine filled."""

    precision: str
    compile: bool
    threads: int  # of each process
    processes: int
    tokens_per_second: float  # median over rounds; 0 where nothing was measured
    q1: float
    q3: float
    ratio: float  # to one-thread eager fp32 processes, median over the rounds in which both ran
    compile_seconds: float  # of the first process
    again_seconds: float | None  # of one that finds what the first one made
    stopped: str  # why it was measured no longer; "" for one that went to the end

    @property
    def name(self) -> str:
        return Way(self.precision, self.compile, self.threads, self.processes).name

    @property
    def starts(self) -> float:
        """Seconds that a later run of this shape spends before its steps."""
        return self.compile_seconds if self.again_seconds is None else self.again_seconds

    def run_seconds(self, tokens: float) -> float:
        """What a run of so many tokens takes of the whole machine."""
        return tokens / self.tokens_per_second + self.starts / self.processes


@dataclass(frozen=True)
class Fastest:
    """The choice, and all arms with the best first."""

    precision: str
    compile: bool
    threads: int  # of each process
    processes: int  # side by side
    tokens_per_second: float  # of all of them together
    tokens: float  # a run's length for which it was chosen
    arms: Sequence[Arm]
    cached: bool = False  # measured before, not now

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe trained in this way."""
        return dataclasses.replace(recipe, precision=self.precision, compile=self.compile, threads=self.threads)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def in_words(self) -> str:
        """The choice and a row an arm."""
        made = "compiled" if self.compile else "eager"
        layout = f"{self.processes} processes x {self.threads} threads"
        lines = [f"{self.precision}, {made}, {layout}: {self.tokens_per_second:,.0f} tokens/s of the machine"]
        lines.append(f"  {'':<24}{'tokens/s':>26}{'ratio':>8}{'compiling':>12}{'again':>8}")
        for arm in self.arms:
            rate = f"{arm.tokens_per_second:,.0f} [{arm.q1:,.0f}, {arm.q3:,.0f}]" if arm.tokens_per_second else "-"
            ratio = f"{arm.ratio:.2f}x" if arm.tokens_per_second else "-"
            cold = f"{arm.compile_seconds:.1f} s" if arm.compile_seconds else ""
            again = "" if arm.again_seconds is None else f"{arm.again_seconds:.1f} s"
            lines.append(f"  {arm.name:<24}{rate:>26}{ratio:>8}{cold:>12}{again:>8}  {arm.stopped}".rstrip())
        return "\n".join(lines)


def fastest(
    recipe: Recipe,
    cores: int | None = None,
    seconds: float = 60.0,
    total_tokens: float | None = None,
    fresh: bool = False,
    compiles: bool = True,
    say: Callable[[str], None] = say_on_stderr,
) -> Fastest:
    """The best way to train `recipe` on so many cores (all that this process may use).

    seconds: what measuring may take, but for a compilation that is under way. total_tokens: of one run, by default the
    recipe's own budget. fresh: measure anew. compiles: whether compiling is tried. The recipe's precision, compile and
    threads play no part. Raises `UserError` for a recipe that cannot be trained or has an `init`.
    """
    cores = usable_cores() if cores is None else cores
    if cores < 1:
        raise UserError(f"cores is {cores}; give at least 1")
    config, batches = pretraining(recipe)
    tokens = total_tokens or planned_steps(recipe, config, batches)[0] * recipe.batch_size * batches.mean_tokens
    key = key_of(recipe, config, cores)
    path = cache_folder() / "fastest" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"
    arms = None if fresh else _known(path, key)
    compiles = compiles and (shutil.which("g++") is not None or shutil.which("clang++") is not None)
    cached = arms is not None and (any(arm.compile for arm in arms) or not compiles)
    if arms is None or not cached:
        say(f"measuring the fastest way to train {_shape(config)} on {cores} cores")
        arms = arms_of(_measured(recipe, ways_of(cores, compiles), seconds, say))
        whole = {"schema_version": SCHEMA_VERSION, "key": key, "arms": [dataclasses.asdict(arm) for arm in arms]}
        write_cached(path, json.dumps(whole, indent=1) + "\n")
    best = choose(arms, tokens)
    ranked = sorted(arms, key=lambda arm: arm.run_seconds(tokens) if arm.tokens_per_second else float("inf"))
    chosen = (best.precision, best.compile, best.threads, best.processes, best.tokens_per_second)
    return Fastest(*chosen, tokens=tokens, arms=ranked, cached=cached)


def choose(arms: Sequence[Arm], tokens: float) -> Arm:
    """The arm that takes least of the machine for a run of so many tokens."""
    return min((arm for arm in arms if arm.tokens_per_second), key=lambda arm: arm.run_seconds(tokens))


def ways_of(cores: int, compiles: bool) -> list[Way]:
    """All ways to fill the cores; first the one that the others are held against."""
    layouts = [(threads, cores // threads) for threads in range(1, cores + 1) if cores % threads == 0]
    types = ("fp32", "bf16") if processor_has_bf16() else ("fp32",)
    return [
        Way(precision, compile, threads, processes)
        for compile in ((False, True) if compiles else (False,))
        for precision in types
        for threads, processes in layouts
    ]


def arms_of(ways: Sequence[Way]) -> list[Arm]:
    """Medians, quartiles and ratios of what was measured round by round."""
    base = ways[0].rates
    arms = []
    for way in ways:
        rates = sorted(way.rates.values())
        q1, median, q3 = (
            statistics.quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else (rates or [0.0]) * 3
        )
        ratios = [rate / base[index] for index, rate in way.rates.items() if index in base]
        arms.append(
            Arm(
                way.precision, way.compile, way.threads, way.processes, median, q1, q3,
                statistics.median(ratios) if ratios else 0.0,
                way.compile_seconds, way.again_seconds, way.stopped,
            )
        )  # fmt: skip
    return arms


def key_of(recipe: Recipe, config: ModelConfig, cores: int) -> dict[str, Any]:
    """What the measurement depends on."""
    return {
        "machine": machine() | {"instructions": hashlib.sha256(" ".join(processor_flags()).encode()).hexdigest()[:12]},
        "cores": cores,
        "torch": str(torch.__version__),
        "unmask": __version__,
        "model": config.to_dict(),
        "batch": [recipe.batch_size, recipe.micro_batch, recipe.context],
        "objective": dataclasses.asdict(recipe.objective),
        "activation_checkpointing": recipe.activation_checkpointing,
    }


def _measured(recipe: Recipe, ways: Sequence[Way], seconds: float, say: Callable[[str], None]) -> list[Way]:
    keep_compiled()
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    command = [sys.executable, "-m", "unmask.training.trial"]
    asked = {"recipe": recipe.to_dict(), "ways": [dataclasses.asdict(way) for way in ways], "seconds": seconds}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        try:
            for line in process.stdout:
                answer = json.loads(line)
                if "error" in answer:
                    raise UserError(answer["error"])
                if "ways" in answer:
                    return [
                        Way(**way | {"rates": {int(index): rate for index, rate in way["rates"].items()}})
                        for way in answer["ways"]
                    ]
                say(answer["say"])
        finally:
            if process.poll() is None:
                process.terminate()
    raise UserError(f"measuring the fastest way ended early: exit status {process.wait()}, see above")


def _known(path: Any, key: dict[str, Any]) -> list[Arm] | None:
    """What an earlier call kept; None without it, or where the file is not what this version writes."""
    try:
        kept = parse_json(path.read_bytes())
        return [Arm(**arm) for arm in kept["arms"]] if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shape(config: ModelConfig) -> str:
    sizes = f"{config.n_layer}x{config.n_head}x{config.n_embd}"
    return f"an {config.kind} of {sizes} ({config.n_params_non_embedding:,} non-embedding parameters)"
