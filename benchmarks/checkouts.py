"""Whether a change made `generate` and `score` slower: this checkout beside another one, call by call, in turns.

    git worktree add ../before COMMIT
    python -m benchmarks.checkouts --against ../before --size 6M --size 19M --rounds 20 --out checkouts.json
    python -m benchmarks.checkouts --against ../before --model runs/demo/mdm --model runs/demo/arm

Each checkout is a process of its own, kept alive, that knows the public face alone (`load`, `generate`, `score`):
any earlier commit can stand beside. The order of the two moves from round to round. What is printed is the other's time
over ours, above 1 where ours is faster: the geometric mean with its 95% interval (Student's t, of logarithms; rounds of
one start are one value, since one process differs from another by more than its rounds do); both must give the same, or
it says so. Training steps: `unmask bench train --against-checkout`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import begin, written
from unmask.bench.kit.folders import check_folders
from unmask.bench.kit.shapes import model_fields
from unmask.bench.kit.turns import moved
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.errors import UserError
from unmask.model.folder import load, save
from unmask.model.transformer import Transformer
from unmask.options import Options, option
from unmask.provenance import machine, versions
from unmask.statistics import ci_text, mean
from unmask.terminal import say
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import model_config

ROOT = Path(__file__).resolve().parents[1]
VOCAB, CONTEXT = 32000, 256
# Run by each checkout's own code; a line in is a call, a line out its seconds and a sum of what it gave.
WORKER = """
import hashlib, json, sys, time
import torch, unmask
threads = int(sys.argv[1])
torch.set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter
models = {}
for line in sys.stdin:
    work, path, rows, length, steps = json.loads(line)
    model = models.setdefault(path, None) or unmask.load(path)
    models[path] = model
    prompts = [[(37 * row + 11 * place) % 500 + 1 for place in range(8)] for row in range(rows)]
    began = clock()
    if work == "score":
        more = {} if model.kind == "arm" else {"draws": 4 * steps}
        scores = unmask.score(model, [(prompt, prompt[::-1] * (length // 8)) for prompt in prompts], **more)
        given = [round(each.logprob, 3) for each in scores]
    else:
        more = {} if model.kind == "arm" else {"steps": steps, "order": "confidence", "quota": "even"}
        written = unmask.generate(model, prompts, length=length, seed=1, trace=False, **more)
        given = [list(each.tokens) for each in written]
    seconds = clock() - began
    print(json.dumps([seconds, hashlib.sha256(repr(given).encode()).hexdigest()[:16]]), flush=True)
"""


@dataclass(frozen=True)
class CheckoutOptions(Options):
    """`generate` and `score` of this checkout and of another one, in turns."""

    does = "compare"

    against: str = option("", "the other checkout", metavar="PATH")
    size: list[str] = option([], "random weights: 6M, 19M, ..., or LAYERSxHEADSxWIDTH; repeatable")
    model: list[str] = option([], "a run, a checkpoint or a model folder; repeatable", metavar="RUN")
    rows: list[int] = option([1, 8], "prompts a call; repeatable", least=1)
    length: int = option(32, "new tokens", least=8)
    steps: int = option(8, "of generating; score draws four times as many masks", least=1)
    rounds: int = option(20, "turns of either", least=2)
    starts: int = option(5, "times that both processes are begun anew among them", least=1)
    threads: int = option(1, "of either; with one the process's own time counts", least=1)
    out: str | None = option(None, "the result as JSON", metavar="FILE")


class Checkout:
    """A checkout's process."""

    def __init__(self, source: Path, threads: int) -> None:
        own = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", WORKER, str(threads)]
        self.process = subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, what: list[Any]) -> tuple[float, str]:
        """Seconds, and a sum of what was given. Raises `UserError` where the process ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise UserError(f"a checkout ended with status {self.process.wait()}; what it said stands above")
        seconds, given = json.loads(line)
        return seconds, given

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def compare(options: CheckoutOptions) -> dict[str, Any]:
    """Ratios of every call. Raises `UserError` for a checkout that is none."""
    other = Path(options.against).resolve() / "src"
    if not options.against or not (other / "unmask" / "__init__.py").is_file():
        raise UserError(f"--against {options.against or 'is missing'}: give the folder of a checkout", field="against")
    check_folders(options.out)
    with tempfile.TemporaryDirectory() as folder:
        paths = {Path(path).name: path for path in options.model}
        for size in options.size or ([] if options.model else ["6M"]):
            paths |= {f"{size} {kind}": random_model(Path(folder), size, kind == "arm") for kind in ("mdm", "arm")}
        calls = {
            f"{name}, {work}, {rows} row{'s' * (rows > 1)}": [work, path, rows, options.length, options.steps]
            for name, path in paths.items() for work in ("generate", "score") for rows in options.rows
        }  # fmt: skip
        rows = measure({"ours": ROOT / "src", "other": other}, calls, options)
    result = {"schema_version": 1, "kind": "unmask-bench-checkouts", "rounds": options.rounds, "calls": rows}
    result |= {"threads": options.threads, "machine": machine(), "versions": versions()}
    return written(result, options.out)


def random_model(folder: Path, size: str, causal: bool) -> str:
    objective = ObjectiveConfig("arm" if causal else "mdm")
    recipe = Recipe("-", "-", steps=1, context=CONTEXT, model=model_fields(size), objective=objective)
    config = model_config(recipe, VOCAB, None)
    place = folder / f"{size}-{'arm' if causal else 'mdm'}"
    save(place, Transformer(config, seed=0), None)
    load(place)
    return str(place)


def measure(sources: dict[str, Path], calls: dict[str, list[Any]], options: CheckoutOptions) -> list[dict[str, Any]]:
    """Each call by both sides in every round. Processes are begun anew now and then, since one and the same code is by
    several percent faster in one process than in another; the first turn of each does not count."""
    seconds: dict[str, dict[str, list[float]]] = {name: {side: [] for side in sources} for name in calls}
    same = dict.fromkeys(calls, True)
    turns = [len(part) for part in np.array_split(range(options.rounds), min(options.starts, options.rounds))]
    for start, count in enumerate(turns):
        sides = {name: Checkout(source, options.threads) for name, source in sources.items()}
        try:
            for turn in range(count + 1):
                for name, call in calls.items():
                    given = set()
                    for side in moved(list(sides), turn + start):
                        took, digest = sides[side].call(call)
                        given.add(digest)
                        seconds[name][side] += [took] if turn else []
                    same[name] &= len(given) == 1
        finally:
            for one in sides.values():
                one.end()
        say(f"bench: {sum(turns[: start + 1])} of {options.rounds} rounds")
    return [row_of(name, taken, turns, same[name]) for name, taken in seconds.items()]


def row_of(name: str, seconds: dict[str, list[float]], turns: list[int], same: bool) -> dict[str, Any]:
    logs = np.log(np.array(seconds["other"]) / np.array(seconds["ours"]))
    if len(turns) > 1:
        logs = np.array([part.mean() for part in np.split(logs, np.cumsum(turns)[:-1])])
    log_ratio = mean(list(logs))
    low, high = (float(np.exp(end)) for end in log_ratio.interval or [log_ratio.value, log_ratio.value])
    ratio = {"ratio": float(np.exp(log_ratio.value)), "interval": [low, high]}
    return {"call": name, **ratio, "same": same, "seconds": {side: float(np.median(s)) for side, s in seconds.items()}}


def in_words(result: dict[str, Any]) -> str:
    lines = [f"{'':<32}{'other s':>9}{'ours s':>9}   other over ours, {result['rounds']} rounds"]
    for row in result["calls"]:
        times = f"{row['seconds']['other']:>9.3f}{row['seconds']['ours']:>9.3f}"
        note = "" if row["same"] else "  gives something else"
        lines.append(f"{row['call']:<32}{times}   {row['ratio']:.3f}{ci_text(row['interval'], '.3f')}{note}")
    return "\n".join(lines)


if __name__ == "__main__":
    begin(CheckoutOptions, "checkouts")
