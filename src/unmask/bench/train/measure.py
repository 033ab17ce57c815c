"""`unmask bench train`: the speed and memory of a training step, side by side with plainer ones.

    unmask bench train --size 6M --size 19M --against plain --against transformers --out bench.json --plot bench.png
    unmask bench train --size 6M --against plain --memory          # batch 8 x 2,048: peak memory
    unmask bench train --size 6M --ranks 2                         # 2 processes of 1 thread against 1 of 2
    unmask bench train --size 6M --precision fp32 --precision bf16 --against-checkout ../before:fp32
    unmask bench train --tiny --against-checkout ../before         # small models, see tiny.py

Each arm is a process of its own, kept alive. They take turns of a few steps, in an order that changes every round, so
that whatever else the machine does hits all alike; numbers are medians over rounds with quartiles, ratios are taken
round by round. All arms train the same samples with the same noise from the same weights; their losses are compared.

FLOPs are those that were needed: forward and backward through layers and attention, and the head at scored positions
only (`model.flops`), whatever an arm computes beyond that. They are set against the matrix products that the arm's own
process managed just before its turn.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.bench.train.arms import ARMS
from unmask.bench.train.corpus import random_corpus
from unmask.bench.train.processes import Checkout, Worker
from unmask.diffusion.objective import ObjectiveConfig
from unmask.errors import UserError, nearest
from unmask.files import write_whole
from unmask.model.config import ModelConfig
from unmask.model.placement import choose_device
from unmask.model.presets import PRESETS
from unmask.provenance import machine
from unmask.terminal import say
from unmask.training.precision import Choice, choose
from unmask.training.recipe import PRECISIONS, ModelFields, OptimizerFields, Recipe
from unmask.training.run_folder import run_versions
from unmask.training.setup import model_config

SCHEMA_VERSION = 2
UNSAID = ("out", "plot", "profile", "tiny")  # options that change no number
MANY_STEPS = 1_000_000  # of the learning-rate schedule; a benchmark ends before


@dataclass(frozen=True)
class BenchOptions:
    """What to measure. 0 in batch, context, rounds, steps: 4, 512, 5, 3, or with `memory` 8, 2048, 1, 2."""

    size: Sequence[str] = ()  # presets, or LAYERSxHEADSxWIDTH such as 2x2x16; 6M, of `tiny` those named there
    kind: str = "mdm"
    against: Sequence[str] = ()
    against_checkout: Sequence[str] = ()  # PATH, PATH:fp32, PATH:fp32:eager
    tiny: bool = False
    ranks: int = 1  # above 1: also as many processes with threads / ranks threads each
    batch: int = 0
    context: int = 0
    vocab: int = 0  # 0: 32,000
    threads: int = 0  # 0: all cores
    compile: bool = True
    rounds: int = 0
    steps: int = 0  # a turn
    warmup: int = 2  # steps before the first round, compilation among them
    memory: bool = False
    random_length: float = 0.0
    masking: str = "bernoulli"
    activation_checkpointing: bool = False
    precision: Sequence[str] = ("auto",)  # several: each arm in each
    device: str = "auto"
    profile: str | None = None  # a file for the trace of our arm
    out: str | None = None
    plot: str | None = None

    def resolved(self) -> BenchOptions:
        """With the defaults filled in. Raises `UserError` for what cannot be measured."""
        usual = {"batch": 8, "context": 2048, "rounds": 1, "steps": 2} if self.memory else {}
        usual = {"batch": 4, "context": 512, "rounds": 5, "steps": 3, "vocab": 32000} | usual
        usual["threads"] = os.cpu_count() or 1
        chosen: dict[str, Any] = {name: value for name, value in usual.items() if not getattr(self, name)}
        chosen |= {} if self.size else {"size": ("6M",)}
        filled = dataclasses.replace(self, **chosen)
        for name in ("batch", "context", "vocab", "threads", "rounds", "steps", "warmup", "ranks"):
            if getattr(filled, name) < 1:
                raise UserError(f"--{name} is {getattr(filled, name)}; give at least 1")
        for name in filled.precision:
            if name not in PRECISIONS:
                raise UserError(f"--precision {name} is not known; give one of {', '.join(PRECISIONS)}")
        for name in filled.against:
            if name not in ARMS[1:]:
                raise UserError(f"--against {name} is not known{nearest(name, ARMS)}; give {' or '.join(ARMS[1:])}")
        if filled.threads % filled.ranks or filled.batch % filled.ranks:
            raise UserError(f"--ranks {filled.ranks} must divide --threads {filled.threads} and --batch {filled.batch}")
        if filled.ranks > 1 and filled.device == "cuda":
            raise UserError("--ranks measures processes on CPU cores; on GPUs use torchrun with unmask train")
        for path in (filled.out, filled.plot, filled.profile):
            if path and not Path(path).resolve().parent.is_dir():
                raise UserError(f"{path}: its folder does not exist; make it, or give another file")
        return filled


def bench_train(options: BenchOptions) -> dict[str, Any]:
    """Measures and, where asked for, writes the JSON and the plot. Progress goes to stderr."""
    if options.tiny:
        from unmask.bench.train.tiny import bench_tiny

        return bench_tiny(options)
    options = options.resolved()
    checkouts = [Checkout.read(text) for text in options.against_checkout]
    models = {size: model_fields(size) for size in options.size}
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "bench": "train",
        "versions": run_versions() | {"threads": options.threads},
        "machine": machine(),
        "settings": {name: value for name, value in dataclasses.asdict(options).items() if name not in UNSAID}
        | {"against_checkout": [checkout.name for checkout in checkouts]},
        "sizes": {},
    }
    with tempfile.TemporaryDirectory(prefix="unmask-bench-") as folder:
        data = Path(folder, "data")
        random_corpus(data, options.vocab, n_tokens=max(1 << 20, 64 * options.context))
        for size, fields in models.items():
            report["sizes"][size] = measure(options, size, fields, data, checkouts)
    if options.out:
        write_whole(options.out, json.dumps(report, indent=1) + "\n")
    if options.plot:
        from unmask.bench.train.plot import plot

        plot(report, Path(options.plot))
    return report


def in_words(report: dict[str, Any]) -> str:
    """The tables."""
    if report["bench"] == "tiny":
        from unmask.bench.train import tiny

        return tiny.in_words(report)
    from unmask.bench.train.table import table

    return table(report)


def model_fields(size: str) -> ModelFields:
    """A preset, or a shape as LAYERSxHEADSxWIDTH."""
    if free := re.fullmatch(r"(\d+)x(\d+)x(\d+)", size):
        layers, heads, width = (int(number) for number in free.groups())
        return ModelFields(n_layer=layers, n_head=heads, n_embd=width)
    if size not in PRESETS:
        hint = nearest(size, PRESETS)
        raise UserError(f"--size {size} is neither a preset{hint} nor LAYERSxHEADSxWIDTH, such as 6M or 2x2x64")
    return ModelFields(size=size)


def measure(
    options: BenchOptions, size: str, model: ModelFields, data: Path, checkouts: Sequence[Checkout]
) -> dict[str, Any]:
    """One size: all arms, interleaved."""
    recipe = Recipe(
        data=str(data), out="-", steps=MANY_STEPS, context=options.context, batch_size=options.batch, model=model,
        objective=ObjectiveConfig(kind=options.kind, masking=options.masking, random_length=options.random_length),
        activation_checkpointing=options.activation_checkpointing, compile=options.compile,
        device=options.device, threads=options.threads,
        optimizer=OptimizerFields(schedule="constant", warmup=0),  # so that weights move, and losses tell
    )  # fmt: skip
    config = model_config(recipe, options.vocab, eos_id=0)  # raises for sizes that do not fit
    choices = [chosen(dataclasses.replace(recipe, precision=asked), config) for asked in options.precision]
    for choice in choices:
        say(f"{size}: {choice}")
    types = list(dict.fromkeys(choice.name for choice in choices))
    arms: dict[str, Worker] = {}
    leads: dict[str, str] = {}  # of each type, our arm
    try:
        for name in types:
            typed = dataclasses.replace(recipe, precision=name)
            behind = f" {name}" if len(types) > 1 else ""
            leads[name] = f"ours{behind}"
            for arm in ("ours", *options.against):
                arms[f"{arm}{behind}"] = Worker(arm, typed)
            if options.ranks > 1:
                arms[f"{options.ranks} ranks{behind}"] = Worker("ours", typed, options.ranks)
        first = dataclasses.replace(recipe, precision=types[0])
        for checkout in checkouts:
            arms[checkout.name] = Worker("ours", first, checkout=checkout)
        # Another tree measures the peak in its own way: ours does it for it.
        peaks = {
            checkout.name: arms[leads.get(checkout.of(first).precision, leads[types[0]])] for checkout in checkouts
        }
        turns = take_turns(options, size, arms, peaks)
        profiled = (
            arms[leads[types[-1]]].profile(options.profile, size, len(options.size) > 1) if options.profile else {}
        )
        found = summary(turns, {name: arm.facts for name, arm in arms.items()}, list(leads.values()))
        return found | {"precision": [{"type": choice.name, "why": choice.why} for choice in choices]} | profiled
    finally:
        for worker in arms.values():
            worker.close()


def take_turns(
    options: BenchOptions, size: str, arms: dict[str, Worker], peaks: dict[str, Worker]
) -> dict[str, list[dict[str, Any]]]:
    """Warms all arms up, then measures them in an order that changes every round. peaks: who measures it for an arm."""
    for name, arm in arms.items():
        arm.ready()
        say(f"{size}: {name} warms up")
        arm.run(options.warmup)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    names = list(arms)
    for index in range(options.rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            peak = {"peak": peaks[name].peak()} if name in peaks else {}
            turns[name].append(arms[name].run(options.steps) | peak)
        rates = (f"{name} {rounds[-1]['tokens'] / rounds[-1]['seconds']:,.0f}" for name, rounds in turns.items())
        say(f"{size}: round {index + 1} of {options.rounds}: tokens/s {', '.join(rates)}")
    return turns


def chosen(recipe: Recipe, config: ModelConfig) -> Choice:
    """The number type of all arms, measured with the threads that they have. Raises `UserError` as `train` does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        return choose(recipe.precision, choose_device(recipe.device), config)
    finally:
        torch.set_num_threads(before)


def summary(
    turns: dict[str, list[dict[str, Any]]], facts: dict[str, dict[str, Any]], leads: Sequence[str]
) -> dict[str, Any]:
    """Medians, quartiles and round-by-round ratios of the turns of all arms; `leads` are ours, one a type."""
    arms = {}
    for name, rounds in turns.items():
        numbers = [key for key in rounds[0] if key != "losses"]
        column = {key: np.array([turn[key] for turn in rounds], dtype=np.float64) for key in numbers}
        steps = len(rounds[0]["losses"])
        arms[name] = {
            "tokens_per_second": spread(column["tokens"] / column["seconds"]),
            "step_seconds": spread(column["seconds"] / steps),
            "flops_per_second": spread(column["flops"] / column["seconds"]),
            "matmul_peak": spread(column["peak"]),
            "matmul_peak_share": spread(column["flops"] / column["seconds"] / column["peak"]),
            "data_wait_share": spread(column["waited"] / column["seconds"]),
            "peak_memory": int(column["memory"][-1]),
            "bare_memory": facts[name]["bare"] * facts[name]["processes"],
            "exactness_seconds": facts[name]["exactness"],
            "losses": [loss for turn in rounds for loss in turn["losses"]],
        }
    return {
        "parameters": facts[leads[0]]["parameters"],
        "device": facts[leads[0]]["device"],
        "arms": arms,
        "over": {lead: over(lead, turns, [*leads[leads.index(lead) + 1 :], lead]) for lead in leads},
        "exact_resume_share": arms[leads[0]]["exactness_seconds"] / arms[leads[0]]["step_seconds"]["median"],
    }


def over(lead: str, turns: dict[str, list[dict[str, Any]]], but: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How much faster `lead` is than every other arm `but` some, of how much memory, and how far losses differ."""
    speed = {name: np.array([turn["tokens"] / turn["seconds"] for turn in rounds]) for name, rounds in turns.items()}
    losses = {name: [loss for turn in rounds for loss in turn["losses"]] for name, rounds in turns.items()}
    return {
        name: {
            "speed": spread(speed[lead] / speed[name]),
            "memory": turns[lead][-1]["memory"] / rounds[-1]["memory"],
            "loss_difference": max(abs(a / b - 1) for a, b in zip(losses[lead], losses[name], strict=True)),
        }
        for name, rounds in turns.items()
        if name not in but
    }


def spread(values: np.ndarray) -> dict[str, Any]:
    """Median and quartiles over rounds, and the rounds."""
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3), "rounds": [float(value) for value in values]}
