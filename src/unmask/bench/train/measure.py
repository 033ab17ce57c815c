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
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.bench.kit.shapes import model_fields
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.bench.train import tiny
from unmask.bench.train.corpus import random_corpus
from unmask.bench.train.options import MANY_STEPS, BenchOptions
from unmask.bench.train.processes import Checkout, Worker
from unmask.bench.train.table import table
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.files import write_whole
from unmask.model.config import ModelConfig
from unmask.model.placement import choose_device
from unmask.provenance import machine
from unmask.terminal import say
from unmask.training.precision import Choice, choose
from unmask.training.recipe_fields import ModelFields, OptimizerFields, Recipe
from unmask.training.run_folder import run_versions
from unmask.training.setup import model_config

SCHEMA_VERSION = 2
UNSAID = ("out", "plot", "profile", "tiny")  # options that change no number


def bench_train(options: BenchOptions) -> dict[str, Any]:
    """Measures and, where asked for, writes the JSON and the plot. Progress goes to stderr."""
    if options.tiny:
        return tiny.bench_tiny(options)
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
    return tiny.in_words(report) if report["bench"] == "tiny" else table(report)


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
        result = summary(turns, {name: arm.facts for name, arm in arms.items()}, list(leads.values()))
        return result | {"precision": [{"type": choice.name, "why": choice.why} for choice in choices]} | profiled
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
        for name in moved(names, index):
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
