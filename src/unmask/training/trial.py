"""Steps of one recipe in several ways, in turns: what `fastest.py` measures, in processes of their own.

    echo '{"recipe": {...}, "ways": [...], "seconds": 60}' | python -m unmask.training.trial

One JSON line on stdout for each thing to be said, then one with all that was measured. This process imports PyTorch
once and never computes; each way is one or several forks of it, which take their turns at the same time, so that a rate
is that of the whole machine. Eager ways come first: those that are far behind are not compiled, since compiling is what
takes longest. Processes of one way compile one after the other, and the later ones find what the first one made.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch

from unmask.data.shards import TokenData
from unmask.diffusion.objective import Objective
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.fp32_products import WIDE, quick_products
from unmask.model.transformer import Transformer
from unmask.training.batches import Batches
from unmask.training.distribution import Ranks, share_of
from unmask.training.optimizer import build_optimizer
from unmask.training.precision import autocast_for
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import compile_layers, model_config
from unmask.training.step import Engine
from unmask.training.task import Ahead

TURN = 0.4  # seconds
ROUNDS = 7
WARM = 2  # steps before a way's first turn, compilation among them
# A way goes on while its best turn reaches so much of the leader's median: before compiling, and in the rounds after.
BEFORE, AFTER = 0.5, 0.85


@dataclass
class Way:
    """One way to fill the machine, and what was measured of it."""

    precision: str
    compile: bool
    threads: int  # of each process
    processes: int
    rates: dict[int, float] = field(default_factory=dict)  # by round: tokens/s of all processes together
    compile_seconds: float = 0.0  # of the first process
    again_seconds: float | None = None  # of a later one, which finds what the first one made
    stopped: str = ""  # why it was measured no longer

    @property
    def name(self) -> str:
        made = "compiled" if self.compile else "eager"
        return f"{self.precision} {made} {self.processes} x {self.threads}"


def survivors(rates: Mapping[str, Sequence[float]], share: float) -> list[str]:
    """The names whose best rate reaches `share` of the highest median."""
    leader = max(statistics.median(own) for own in rates.values())
    return [name for name, own in rates.items() if max(own) >= share * leader]


def pretraining(recipe: Recipe) -> tuple[ModelConfig, Batches]:
    """The model and the samples of a recipe that starts from random weights; raises `UserError` for another."""
    if recipe.init is not None:
        raise UserError(f"init is {recipe.init}; ways to train are measured from random weights, leave it out")
    data = TokenData(recipe.data, "train")
    config = model_config(recipe, data.vocab_size, data.eos_id)
    return config, Batches(recipe, data, config)


class Trial:
    """Training steps of a recipe in this process; its weights are thrown away."""

    def __init__(self, recipe: Recipe) -> None:
        torch.set_num_threads(recipe.threads)
        device = torch.device("cpu")
        ranks = Ranks(device)
        config, batches = pretraining(recipe)
        network = Transformer(config, seed=recipe.seed).drop(recipe.dropout)
        network.recompute = recipe.activation_checkpointing
        if recipe.compile:
            compile_layers(network, lambda text: None)
        optimizer = build_optimizer(network, recipe.optimizer)
        autocast = autocast_for(recipe.precision, device)
        objective, clip = Objective(recipe.objective), recipe.optimizer.clip
        self._engine = Engine(network, objective, optimizer, ranks, False, autocast, clip)
        self._ahead = Ahead(batches, recipe.batch_size, lambda k: share_of(k, ranks, recipe.micro_batch), device)
        self._recipe, self._step, self.width = recipe, 0, config.n_embd

    def run(self, seconds: float, least: int) -> tuple[float, float]:
        """Tokens of at least so many steps in at least so many seconds, and the seconds they took."""
        tokens, began = 0, time.perf_counter()
        for count in range(1, sys.maxsize):
            batch = self._ahead.step(self._step)
            outcome = self._engine.forward_backward(batch.parts, batch.divisor)
            self._engine.update(self._recipe.optimizer.lr, apply=outcome.finite)
            self._step += 1
            tokens += batch.n_tokens
            if count >= least and time.perf_counter() - began >= seconds:
                break
        return float(tokens), time.perf_counter() - began


def serve(pipe: Connection, recipe: Recipe) -> None:
    """A fork's life: turns as they are asked for, until the other side closes."""
    try:
        trial = Trial(recipe)
        with quick_products(trial.width >= WIDE):
            while True:
                pipe.send(trial.run(*pipe.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except (UserError, MemoryError, RuntimeError) as error:  # of this way alone: the others go on
        pipe.send((str(error).strip().splitlines() or [type(error).__name__])[0])


class Crew:
    """The processes of a way."""

    def __init__(self, way: Way, recipe: Recipe) -> None:
        self.way, self._recipe = way, recipe
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []

    def start(self, count: int) -> None:
        """So many more processes."""
        way, fork = self.way, multiprocessing.get_context("fork")
        fields: dict[str, Any] = {
            "precision": way.precision, "compile": way.compile, "threads": way.threads, "device": "cpu"
        }
        recipe = dataclasses.replace(self._recipe, **fields)
        for _ in range(count):
            pipe, theirs = fork.Pipe()
            process = fork.Process(target=serve, args=(theirs, recipe), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(pipe)
            self._processes.append(process)

    def ask(self, seconds: float, least: int, first: int = 0) -> None:
        """A turn of the processes from the `first` on, which `answers` waits for."""
        for pipe in self._pipes[first:]:
            pipe.send((seconds, least))

    def answers(self, first: int = 0, within: float | None = None) -> list[tuple[float, float]] | None:
        """Tokens and seconds of each; None, and the way is stopped, where one failed or took too long."""
        answers, end = [], None if within is None else time.monotonic() + within
        for pipe in self._pipes[first:]:
            try:
                left = None if end is None else max(0.0, end - time.monotonic())
                answer = pipe.recv() if pipe.poll(left) else "took too long"
            except (EOFError, OSError):
                answer = "its process died"
            if isinstance(answer, str):
                self.stop(answer)
                return None
            answers.append(answer)
        return answers

    def stop(self, why: str) -> None:
        self.way.stopped = self.way.stopped or why
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.terminate()
        for process in self._processes:
            process.join()
        self._pipes, self._processes = [], []

    def turn(self, index: int) -> None:
        """One turn of all its processes at the same time."""
        self.ask(TURN, WARM)
        if (answers := self.answers()) is not None:
            self.way.rates[index] = sum(tokens / seconds for tokens, seconds in answers)


def warm(crews: Sequence[Crew], at_once: int, within: float) -> None:
    """Starts crews and takes their first steps, the first processes of `at_once` crews at the same time."""
    for begin in range(0, len(crews), at_once):
        part = crews[begin : begin + at_once]
        for crew in part:
            crew.start(1)
            crew.ask(0.0, WARM)
        for crew in part:
            if (answers := crew.answers(within=within)) is not None:
                crew.way.compile_seconds = answers[0][1] if crew.way.compile else 0.0
    for crew in crews:
        if crew.way.processes == 1 or crew.way.stopped:
            continue
        crew.start(crew.way.processes - 1)
        crew.ask(0.0, WARM, first=1)
        if (later := crew.answers(first=1, within=within)) is not None and crew.way.compile:
            crew.way.again_seconds = max(seconds for _, seconds in later)


def rounds(crews: Sequence[Crew], first: int, count: int, share: float, until: float) -> None:
    """Turns of all crews in an order that changes each round; those that fall behind are stopped, the first one never.

    Ends after `count` rounds or, once there are three, at the time `until`.
    """
    for index in range(first, first + count):
        if not (going := [crew for crew in crews if not crew.way.stopped]):
            return  # none was ready in time
        shift = index % len(going)
        for crew in going[shift:] + going[:shift]:
            crew.turn(index)
        rates = {crew.way.name: list(crew.way.rates.values()) for crew in going if not crew.way.stopped}
        kept = survivors(rates, share) if rates else []
        for crew in going:
            if crew.way.name not in kept and crew is not crews[0]:
                crew.stop(f"behind after round {index + 1}")
        if index - first >= 2 and time.monotonic() > until:
            return


def measure(recipe: Recipe, ways: Sequence[Way], seconds: float, say: Callable[[str], None]) -> Sequence[Way]:
    """Fills in what was measured of each way; the first is the one that the others are held against."""
    until = time.monotonic() + seconds
    crews = [Crew(way, recipe) for way in ways]
    eager, compiled = ([crew for crew in crews if crew.way.compile == wanted] for wanted in (False, True))
    cores = max(way.threads * way.processes for way in ways)
    try:
        warm(eager, 1, seconds)
        rounds(eager, 0, 2, BEFORE, until)
        say(rates_in_words(eager))
        # A layout or type that is far behind eagerly is not compiled.
        kept = {(w.precision, w.threads) for w in ways if not w.compile and not w.stopped}
        close = {name for name in kept if not _behind(eager, *name)}
        for crew in compiled:
            if (crew.way.precision, crew.way.threads) not in close:
                crew.way.stopped = "not compiled: behind eagerly"
        compiled = [crew for crew in compiled if not crew.way.stopped]
        if compiled:
            say(f"compiling {', '.join(crew.way.name for crew in compiled)}")
            warm(compiled, cores, 2 * seconds)
        rounds([*eager, *compiled], 2, ROUNDS, AFTER, until)
        say(rates_in_words(crews))
    finally:
        for crew in crews:
            crew.stop("")
    if not any(way.rates for way in ways):
        raise UserError(f"no way of training could be measured: {ways[0].stopped}")
    return ways


def _behind(eager: Sequence[Crew], precision: str, threads: int) -> bool:
    """Whether another layout of the same type is clearly faster."""
    medians = {
        crew.way.threads: statistics.median(crew.way.rates.values())
        for crew in eager
        if crew.way.precision == precision and crew.way.rates
    }
    return medians[threads] < AFTER * max(medians.values())


def rates_in_words(crews: Sequence[Crew]) -> str:
    medians = {crew.way.name: statistics.median(crew.way.rates.values()) for crew in crews if crew.way.rates}
    return "tokens/s " + ", ".join(f"{name} {rate:,.0f}" for name, rate in medians.items())


def answers_alone() -> Callable[..., None]:
    """Takes stdout for JSON lines alone: what libraries print goes to stderr. What gives such a line, of its fields."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return lambda **fields: print(json.dumps(fields), file=answers, flush=True)


def main() -> None:
    answer = answers_alone()
    asked = json.load(sys.stdin)
    try:
        recipe = build(Recipe, asked["recipe"], "")
        ways = [Way(**way) for way in asked["ways"]]
        measured = measure(recipe, ways, asked["seconds"], lambda text: answer(say=text))
        answer(ways=[dataclasses.asdict(way) for way in measured])
    except UserError as error:
        answer(error=str(error))


if __name__ == "__main__":
    main()
