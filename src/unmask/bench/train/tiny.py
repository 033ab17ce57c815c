"""`unmask bench train --tiny`: every way to fill the cores with small models, against how a sweep would run without it.

    unmask bench train --tiny --against-checkout ../before --out tiny.json
    unmask bench train --tiny --size 0.6M

For each size `training.fastest` measures all ways anew. Those that stood to its end then take turns with the base,
which is eager fp32 in as many one-thread processes as there are cores: of the checkout, if one is given, and of this
tree. Each process of a way trains a model of its own. Rates are of the whole machine, ratios are taken round by round.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from unmask.bench.kit.shapes import model_fields
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.bench.train.corpus import random_corpus
from unmask.bench.train.options import MANY_STEPS, BenchOptions
from unmask.bench.train.processes import Checkout, Worker
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.files import write_whole
from unmask.provenance import machine
from unmask.terminal import say
from unmask.training.fastest import Arm, Fastest, fastest
from unmask.training.recipe_fields import OptimizerFields, Recipe
from unmask.training.run_folder import run_versions

# Name: (shape with heads of 16, sequences a step), exactly 0.07, 0.59 and 2.62 million non-embedding parameters.
TINY = {"0.07M": ("2x3x48", 4), "0.6M": ("4x6x96", 8), "2.6M": ("10x8x128", 8)}
USUAL: dict[str, Any] = {"context": 256, "vocab": 1024, "rounds": 7, "size": tuple(TINY)}
TURN = 0.6  # seconds, about
SCHEMA_VERSION = 1


def bench_tiny(options: BenchOptions) -> dict[str, Any]:
    """Measures and, where asked for, writes the JSON. Progress goes to stderr."""
    options = dataclasses.replace(options, **{k: v for k, v in USUAL.items() if not getattr(options, k)}).resolved()
    checkouts = [Checkout.read(text) for text in options.against_checkout]
    shown = ("size", "kind", "context", "vocab", "threads", "compile", "rounds", "random_length", "masking")
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "bench": "tiny",
        "versions": run_versions() | {"threads": options.threads},
        "machine": machine(),
        "settings": {name: getattr(options, name) for name in shown},
        "sizes": {},
    }
    with tempfile.TemporaryDirectory(prefix="unmask-bench-") as folder:
        data = Path(folder, "data")
        random_corpus(data, options.vocab, n_tokens=max(1 << 20, 64 * options.context))
        recipes = {size: recipe_of(options, size, data) for size in options.size}
        for size, recipe in recipes.items():
            report["sizes"][size] = measure(options, size, recipe, checkouts)
    if options.out:
        write_whole(options.out, json.dumps(report, indent=1) + "\n")
    return report


def recipe_of(options: BenchOptions, size: str, data: Path) -> Recipe:
    """Of a size named above, a preset or LAYERSxHEADSxWIDTH."""
    shape, batch = TINY.get(size, (size, options.batch))
    objective = ObjectiveConfig(options.kind, options.masking, random_length=options.random_length)
    return Recipe(
        data=str(data), out="-", steps=MANY_STEPS, context=options.context, batch_size=batch,
        model=model_fields(shape), objective=objective, device="cpu",
        optimizer=OptimizerFields(schedule="constant", warmup=0),
    )  # fmt: skip


def measure(options: BenchOptions, size: str, recipe: Recipe, checkouts: list[Checkout]) -> dict[str, Any]:
    """One size: the search, then the turns."""
    cores = options.threads
    best = fastest(recipe, cores, fresh=True, compiles=options.compile)
    eager = dataclasses.replace(recipe, precision="fp32", compile=False, threads=1)
    workers: dict[str, Worker] = {}
    try:
        for checkout in checkouts:
            workers[f"{checkout.name} fp32 eager {cores} x 1"] = Worker("ours", eager, copies=cores, checkout=checkout)
        workers[f"fp32 eager {cores} x 1"] = Worker("ours", eager, copies=cores)
        for arm in (arm for arm in best.arms if arm.tokens_per_second and not arm.stopped):
            changes: dict[str, Any] = {"precision": arm.precision, "compile": arm.compile, "threads": arm.threads}
            if arm.name not in workers:
                workers[arm.name] = Worker("ours", dataclasses.replace(recipe, **changes), copies=arm.processes)
        rates = take_turns(options, size, workers)
    finally:
        for worker in workers.values():
            worker.close()
    return summary(best, rates, next(iter(workers.values())).facts["parameters"])


def take_turns(options: BenchOptions, size: str, workers: dict[str, Worker]) -> dict[str, list[float]]:
    """Tokens/s of every way in every round."""
    steps = {}
    for name, worker in workers.items():
        worker.ready()
        worker.run(options.warmup)
        turn = worker.run(3)  # how many steps fill a turn
        taken = turn["seconds"] / len(turn["losses"])
        steps[name] = max(2, round(TURN / taken))
    rates: dict[str, list[float]] = {name: [] for name in workers}
    names = list(workers)
    for index in range(options.rounds):
        for name in moved(names, index):
            turn = workers[name].run(steps[name])
            rates[name].append(turn["tokens"] / turn["seconds"])
        line = ", ".join(f"{name} {own[-1]:,.0f}" for name, own in rates.items())
        say(f"{size}: round {index + 1} of {options.rounds}: tokens/s {line}")
    return rates


def summary(best: Fastest, rates: dict[str, list[float]], parameters: int) -> dict[str, Any]:
    """Medians and quartiles of rates and of their ratios to the first, and what the search said."""
    base = np.array(next(iter(rates.values())))
    return {
        "parameters": parameters,
        "fastest": best.to_dict(),
        "arms": {
            name: {"tokens_per_second": spread(np.array(own)), "ratio": spread(np.array(own) / base)}
            for name, own in rates.items()
        },
    }


def in_words(report: dict[str, Any]) -> str:
    """A block a size: the ways that took turns, then the search."""
    settings = report["settings"]
    lines = [
        f"{settings['kind']}, context {settings['context']}, vocabulary {settings['vocab']:,}, {settings['threads']} "
        f"cores; {settings['rounds']} rounds, medians [quartiles]; TYPE, made, processes x threads",
        f"{report['machine']['cpu']}, torch {report['versions']['torch']}",
    ]
    for size, part in report["sizes"].items():
        shape = f" ({TINY[size][0]}, batch {TINY[size][1]})" if size in TINY else ""
        lines += ["", f"{size}{shape}, {part['parameters']:,} parameters"]
        wide = max(len(name) for name in part["arms"]) + 2
        for name, arm in part["arms"].items():
            rate = "{median:,.0f} [{q1:,.0f}, {q3:,.0f}]".format(**arm["tokens_per_second"])
            lines.append(
                f"  {name:<{wide}}{rate:>28} tokens/s" + "{median:>8.2f}x [{q1:.2f}, {q3:.2f}]".format(**arm["ratio"])
            )
        arms = [Arm(**arm) for arm in part["fastest"]["arms"]]
        search = Fastest(**part["fastest"] | {"arms": arms})
        lines += [
            f"  the search: {line}" if not index else f"  {line}"
            for index, line in enumerate(search.in_words().splitlines())
        ]
    return "\n".join(lines)
