"""Arms of `unmask bench train` in processes of their own, kept alive between their turns, of this tree or of another.

    arm = Worker("ours", recipe, copies=2)              # two processes that train at the same time, each its own model
    before = Worker("ours", recipe, checkout=Checkout.read("../before:fp32:eager"))
    arm.ready(), arm.run(3)

Another checkout runs its own worker, wherever it keeps it. It is told only what differs from a recipe's defaults, so
that an older one need not know newer fields.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.model.number_types import NUMBER_TYPES
from unmask.provenance import commit_of
from unmask.training.recipe_fields import Recipe

MADE = ("eager", "compiled")
WORKERS = ("unmask.bench.train.worker", "unmask.bench.worker")  # where a checkout keeps it, the newest place first


@dataclass(frozen=True)
class Checkout:
    """Another tree of this project, and what its arm differs in: `PATH`, `PATH:fp32`, `PATH:fp32:eager`."""

    path: Path
    name: str  # its commit
    precision: str | None
    compile: bool | None
    worker: str = WORKERS[0]

    @classmethod
    def read(cls, text: str) -> Checkout:
        """Raises `UserError` where there is no such tree."""
        place, words = text, list[str]()
        while (parts := place.rpartition(":"))[2] in (*NUMBER_TYPES, *MADE) and parts[1]:
            place, words = parts[0], [*words, parts[2]]
        path = Path(place).resolve()
        workers = [name for name in WORKERS if Path(path, "src", *name.split(".")).with_suffix(".py").is_file()]
        if not workers:
            raise UserError(
                f"--against-checkout {text}: {place} is no checkout of unmask with a bench; give PATH, PATH:fp32 or "
                "PATH:fp32:eager, such as a folder made by git worktree add"
            )
        commit = (commit_of(path) or "")[:7] or path.name
        precision = next((word for word in words if word in NUMBER_TYPES), None)
        made = next((word for word in words if word in MADE), None)
        how = None if made is None else made == "compiled"
        return cls(path, " ".join([commit, *reversed(words)]), precision, how, workers[0])

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe as this arm trains it."""
        changes: dict[str, Any] = {"precision": self.precision, "compile": self.compile}
        return dataclasses.replace(recipe, **{name: value for name, value in changes.items() if value is not None})


class Worker:
    """An arm's process or processes: `ranks` that train one model together, or `copies` that train one each."""

    def __init__(
        self, arm: str, recipe: Recipe, ranks: int = 1, copies: int = 1, checkout: Checkout | None = None
    ) -> None:
        self._arm, self._copies = arm if checkout is None else checkout.name, copies
        self.facts: dict[str, Any] = {}
        recipe = recipe if checkout is None else checkout.of(recipe)
        threads = recipe.threads // ranks
        spec = {"arm": arm, "recipe": changed_fields(dataclasses.replace(recipe, threads=threads))}
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            environment.pop(name, None)
        if checkout is not None:
            environment["PYTHONPATH"] = str(checkout.path / "src")
        environments = [environment] * copies
        if ranks > 1:
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
            environments = [environment | address | {"RANK": str(rank)} for rank in range(ranks)]
        worker = WORKERS[0] if checkout is None else checkout.worker
        command = [sys.executable, "-m", worker, json.dumps(spec)]
        self._processes = [
            subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for env in environments
        ]

    def ready(self) -> None:
        """Waits until the model is built."""
        self.facts = {**self._answers()[0], "processes": len(self._processes)}

    def run(self, steps: int) -> dict[str, Any]:
        """A turn. Sums over processes, and the longest time; of copies that which makes their rates' sum."""
        answers = self._ask({"steps": steps})
        total: dict[str, Any] = {name: sum(a[name] for a in answers) for name in ("tokens", "flops", "peak", "memory")}
        longest = {name: max(a[name] for a in answers) for name in ("seconds", "waited")}
        if self._copies > 1:
            longest["seconds"] = total["tokens"] / sum(a["tokens"] / a["seconds"] for a in answers)
        return total | longest | {"losses": answers[0]["losses"]}

    def peak(self) -> float:
        """FLOP/s that products reach now, of all processes."""
        return float(sum(answer["peak"] for answer in self._ask({"peak": True})))

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


def changed_fields(recipe: Any) -> dict[str, Any]:
    """A recipe's fields but for those that are as they would be anyway."""
    settings = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        usual = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value != usual:
            settings[field.name] = changed_fields(value) if dataclasses.is_dataclass(value) else value
    return settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
