"""`unmask bench train`: the speed and memory of a training step, side by side with plainer ones.

    unmask bench train --size 6M --size 19M --against plain --against transformers --out bench.json --plot bench.png
    unmask bench train --size 6M --against plain --memory          # batch 8 x 2,048: peak memory
    unmask bench train --size 6M --ranks 2                         # 2 processes of 1 thread against 1 of 2

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
import platform
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.bench.arms import ARMS
from unmask.bench.corpus import random_corpus
from unmask.diffusion.objective import ObjectiveConfig
from unmask.errors import UserError, nearest
from unmask.model.config import ModelConfig
from unmask.model.number_types import processor_name
from unmask.model.placement import choose_device
from unmask.model.presets import PRESETS
from unmask.terminal import say
from unmask.training.precision import Choice, choose
from unmask.training.recipe import ModelFields, OptimizerFields, Recipe
from unmask.training.run_folder import versions
from unmask.training.setup import model_config

SCHEMA_VERSION = 1
MANY_STEPS = 1_000_000  # of the learning-rate schedule; a benchmark ends before


@dataclass(frozen=True)
class BenchOptions:
    """What to measure. 0 in batch, context, rounds, steps: 4, 512, 5, 3, or with `memory` 8, 2048, 1, 2."""

    size: Sequence[str] = ("6M",)  # presets, or LAYERSxHEADSxWIDTH such as 2x2x16
    kind: str = "mdm"
    against: Sequence[str] = ()
    ranks: int = 1  # above 1: also as many processes with threads / ranks threads each
    batch: int = 0
    context: int = 0
    vocab: int = 32000
    threads: int = 0  # 0: all cores
    compile: bool = True
    rounds: int = 0
    steps: int = 0  # a turn
    warmup: int = 2  # steps before the first round, compilation among them
    memory: bool = False
    random_length: float = 0.0
    masking: str = "bernoulli"
    activation_checkpointing: bool = False
    precision: str = "auto"
    device: str = "auto"
    profile: str | None = None  # a file for the trace of our arm
    out: str | None = None
    plot: str | None = None

    def resolved(self) -> BenchOptions:
        """With the defaults filled in. Raises `UserError` for what cannot be measured."""
        usual = {"batch": 8, "context": 2048, "rounds": 1, "steps": 2} if self.memory else {}
        usual = {"batch": 4, "context": 512, "rounds": 5, "steps": 3} | usual
        usual["threads"] = os.cpu_count() or 1
        chosen: dict[str, Any] = {name: value for name, value in usual.items() if not getattr(self, name)}
        filled = dataclasses.replace(self, **chosen)
        for name in ("batch", "context", "vocab", "threads", "rounds", "steps", "warmup", "ranks"):
            if getattr(filled, name) < 1:
                raise UserError(f"--{name} is {getattr(filled, name)}; give at least 1")
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
    options = options.resolved()
    models = {size: model_fields(size) for size in options.size}
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "bench": "train",
        "versions": versions() | {"threads": options.threads},
        "machine": machine(),
        "settings": {k: v for k, v in dataclasses.asdict(options).items() if k not in ("out", "plot", "profile")},
        "sizes": {},
    }
    with tempfile.TemporaryDirectory(prefix="unmask-bench-") as folder:
        data = Path(folder, "data")
        random_corpus(data, options.vocab, n_tokens=max(1 << 20, 64 * options.context))
        for size, fields in models.items():
            report["sizes"][size] = measure(options, size, fields, data)
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from unmask.bench.plot import plot

        plot(report, Path(options.plot))
    return report


def in_words(report: dict[str, Any]) -> str:
    """The tables."""
    from unmask.bench.table import table

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


def measure(options: BenchOptions, size: str, model: ModelFields, data: Path) -> dict[str, Any]:
    """One size: all arms, interleaved."""
    recipe = Recipe(
        data=str(data), out="-", steps=MANY_STEPS, context=options.context, batch_size=options.batch, model=model,
        objective=ObjectiveConfig(kind=options.kind, masking=options.masking, random_length=options.random_length),
        activation_checkpointing=options.activation_checkpointing, compile=options.compile,
        precision=options.precision, device=options.device, threads=options.threads,
        optimizer=OptimizerFields(schedule="constant", warmup=0),  # so that weights move, and losses tell
    )  # fmt: skip
    config = model_config(recipe, options.vocab, eos_id=0)  # raises for sizes that do not fit
    choice = chosen(recipe, config)
    recipe = dataclasses.replace(recipe, precision=choice.name)
    say(f"{size}: {choice}")
    arms: dict[str, Worker] = {}
    try:
        for name in ("ours", *options.against):
            arms[name] = Worker(name, recipe)
        if options.ranks > 1:
            arms[f"{options.ranks} ranks"] = Worker("ours", recipe, options.ranks)
        for name, arm in arms.items():
            arm.ready()
            say(f"{size}: {name} warms up")
            arm.run(options.warmup)
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
        names = list(arms)
        for index in range(options.rounds):
            shift = index % len(names)
            for name in names[shift:] + names[:shift]:
                turns[name].append(arms[name].run(options.steps))
            rates = (f"{name} {rounds[-1]['tokens'] / rounds[-1]['seconds']:,.0f}" for name, rounds in turns.items())
            say(f"{size}: round {index + 1} of {options.rounds}: tokens/s {', '.join(rates)}")
        profiled = arms["ours"].profile(options.profile, size, len(options.size) > 1) if options.profile else {}
        found = summary(turns, {name: arm.facts for name, arm in arms.items()})
        return found | {"precision": {"type": choice.name, "why": choice.why}} | profiled
    finally:
        for arm in arms.values():
            arm.close()


def chosen(recipe: Recipe, config: ModelConfig) -> Choice:
    """The number type of all arms, measured with the threads that they have. Raises `UserError` as `train` does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        return choose(recipe.precision, choose_device(recipe.device), config)
    finally:
        torch.set_num_threads(before)


class Worker:
    """An arm's process or, with several ranks, processes."""

    def __init__(self, arm: str, recipe: Recipe, ranks: int = 1) -> None:
        self._arm = arm
        self.facts: dict[str, Any] = {}
        threads = recipe.threads // ranks
        spec = {"arm": arm, "recipe": dataclasses.asdict(dataclasses.replace(recipe, threads=threads))}
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            environment.pop(name, None)
        if ranks > 1:
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
            environments = [environment | address | {"RANK": str(rank)} for rank in range(ranks)]
        else:
            environments = [environment]
        command = [sys.executable, "-m", "unmask.bench.worker", json.dumps(spec)]
        self._processes = [
            subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for env in environments
        ]

    def ready(self) -> None:
        """Waits until the model is built."""
        self.facts = {**self._answers()[0], "processes": len(self._processes)}

    def run(self, steps: int) -> dict[str, Any]:
        """A turn; sums over ranks, of time the longest."""
        answers = self._ask({"steps": steps})
        total: dict[str, Any] = {name: sum(a[name] for a in answers) for name in ("tokens", "flops", "peak", "memory")}
        longest = {name: max(a[name] for a in answers) for name in ("seconds", "waited")}
        return total | longest | {"losses": answers[0]["losses"]}

    def profile(self, file: str, size: str, several: bool) -> dict[str, Any]:
        """Phases and operators of some more steps, and a trace in `file` (of several sizes each in its own)."""
        path = Path(file)
        path = path.with_name(f"{path.stem}-{size}{path.suffix}") if several else path
        return {"profile": self._ask({"profile": str(path.resolve())})[0]}

    def _ask(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        for process in self._processes:
            assert process.stdin
            try:
                print(json.dumps(question), file=process.stdin, flush=True)
            except BrokenPipeError:
                break  # `_answers` says how it ended
        return self._answers()

    def _answers(self) -> list[dict[str, Any]]:
        answers = []
        for process in self._processes:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                status = process.wait()
                why = "killed, perhaps for want of memory" if status == -9 else f"exit status {status}, see above"
                raise UserError(f"the process of arm {self._arm} ended early: {why}")
            answers.append(json.loads(line))
            if "error" in answers[-1]:
                raise UserError(answers[-1]["error"])
        return answers

    def close(self) -> None:
        for process in self._processes:
            assert process.stdin
            process.stdin.close()  # an orderly end, unless it does not come
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def summary(turns: dict[str, list[dict[str, Any]]], facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Medians, quartiles and round-by-round ratios of the turns of all arms."""
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
    ours, others = turns["ours"], {name: rounds for name, rounds in turns.items() if name != "ours"}
    speed = {name: [t["tokens"] / t["seconds"] for t in rounds] for name, rounds in turns.items()}
    return {
        "parameters": facts["ours"]["parameters"],
        "device": facts["ours"]["device"],
        "arms": arms,
        "ours_over": {name: spread(np.array(speed["ours"]) / np.array(speed[name])) for name in others},
        "memory_of": {name: ours[-1]["memory"] / rounds[-1]["memory"] for name, rounds in others.items()},
        "loss_difference": {
            name: max(abs(a / b - 1) for a, b in zip(arms["ours"]["losses"], arms[name]["losses"], strict=True))
            for name in others
        },
        "exact_resume_share": arms["ours"]["exactness_seconds"] / arms["ours"]["step_seconds"]["median"],
    }


def spread(values: np.ndarray) -> dict[str, Any]:
    """Median and quartiles over rounds, and the rounds."""
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3), "rounds": [float(value) for value in values]}


def machine() -> dict[str, Any]:
    """What the numbers depend on beside versions and settings; no names."""
    place = {"architecture": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    return {"cpu": processor_name(), **place}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
