"""Every way to stop a run on several ranks and to go on with it, in one launch of four processes.

    torchrun --nproc-per-node 4 tests/training/matrix.py FOLDER DATA
    torchrun --nproc-per-node 4 tests/training/matrix.py FOLDER DATA gloo-4-gloo-4 "save, validate"    # one of them

The four processes form the ranks of one run after another: all four, two pairs at a time, or each alone. A run is
trained to its end, or stopped at `STOP` by a signal; copies of it go on from the checkpoint of that order of validating
and saving. What became of each stands in FOLDER/outcomes.json: `test_shards.py` prints and judges all (slow),
`test_distribution.py` one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file

from unmask.training import distribution, loop
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.step import Engine

STEPS, STOP = 10, 6
# Intervals of validating and saving, and the step of the checkpoint that a copy goes on from.
ORDERS: dict[str, tuple[int, int, int]] = {
    "validate, save": (6, 6, 6),
    "save, validate": (6, 5, 5),  # and killed
    "both": (1, 1, 6),
    "neither": (100, 100, 6),  # saved by the signal alone
    "validate, stop": (6, 100, 6),
}
KINDS = ("ddp", "gloo", "fsdp", "hybrid")  # gloo: DDP where ranks share no memory
SIZES = (1, 2, 4)
BF16 = ("bf16ema", "bf16sftlora")  # full weights with an average; adapters on prompts and answers


@dataclass(frozen=True)
class Way:
    """How a run is spread over processes, and what is particular about its recipe."""

    kind: str
    size: int
    extra: str = ""

    @property
    def parallel(self) -> dict[str, Any]:
        kind = "fsdp" if self.kind in ("fsdp", "hybrid") else "ddp"
        return {"kind": kind, "shard": self.size // 2 if self.kind == "hybrid" else 0}


PLAIN = Way("ddp", 1)  # what adapters start from


@dataclass(frozen=True)
class Case:
    before: Way
    after: Way
    order: str

    @property
    def name(self) -> str:
        return "-".join(f"{way.kind}{way.extra}-{way.size}" for way in (self.before, self.after))


def cases() -> Iterator[Case]:
    for kind in KINDS:
        for before in SIZES:
            for after in SIZES:
                yield from (Case(Way(kind, before), Way(kind, after), order) for order in ORDERS)
    for extra in ("ema", "lora"):
        for kind, before, after in (("fsdp", 4, 4), ("fsdp", 2, 4), ("hybrid", 4, 2), ("ddp", 4, 4)):
            yield from (
                Case(Way(kind, before, extra), Way(kind, after, extra), order)
                for order in ("validate, save", "validate, stop")
            )
    for extra in BF16:
        for kind, before, after in (("ddp", 1, 1), ("ddp", 2, 2), ("fsdp", 2, 2), ("fsdp", 2, 1)):
            yield Case(Way(kind, before, extra), Way(kind, after, extra), "save, validate")
    for first, second in (("ddp", "fsdp"), ("fsdp", "ddp"), ("hybrid", "gloo"), ("gloo", "hybrid"), ("fsdp", "hybrid")):
        yield from (Case(Way(first, 4), Way(second, size), "validate, save") for size in (2, 4))


class Lab:
    """One of the four processes."""

    def __init__(self, folder: Path, data: str) -> None:
        self.folder, self.data = folder, data
        self.me, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self.store = dist.TCPStore(*address, is_master=False, timeout=timedelta(minutes=2))
        self.turns = 0

    def recipe(self, out: Path, way: Way, order: str | None) -> Recipe:
        validate, save, _ = (100, 100, 0) if order is None else ORDERS[order]
        fields: dict[str, Any] = {
            "data": self.data, "out": str(out), "context": 16, "batch_size": 8, "steps": STEPS, "threads": 1,
            "micro_batch": 2, "log_every": 1, "parallel": way.parallel, "optimizer": {"lr": 3e-3},
            "precision": "bf16" if "bf16" in way.extra else "fp32",
            "objective": {"masking": "bernoulli", "random_length": 0.3},
            "validation": {"windows": 4, "draws": 2, "every": validate}, "checkpoint": {"every": save, "keep": 100},
        }  # fmt: skip
        if "lora" in way.extra:
            fields |= {"init": str(self.reference(PLAIN)), "lora": {"rank": 2}}
        else:
            fields["model"] = {"n_layer": 2, "n_head": 2, "n_embd": 16}
        if "sft" in way.extra:
            fields |= {"data": str(self.folder / "rows.jsonl"), "sft": {"padding": "ignore"}}
        if "ema" in way.extra:
            fields["ema"] = 0.9
        recipe: Recipe = build(Recipe, fields, "")
        return recipe

    def write_rows(self) -> None:
        """Prompts and answers to fine-tune on."""
        rows = [{"prompt": f"p{i}", "completion": "c" * (1 + i % 7)} for i in range(20)]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def reference(self, way: Way) -> Path:
        return self.folder / f"whole-{way.kind}-{way.size}-{way.extra}"

    def stopped(self, way: Way, order: str) -> Path:
        return self.folder / f"stopped-{way.kind}-{way.size}-{way.extra}-{order.replace(', ', '-')}"

    def resumed(self, case: Case) -> Path:
        return self.folder / f"{self.stopped(case.before, case.order).name}-then-{case.after.kind}-{case.after.size}"

    def do(self, jobs: dict[Path, tuple[Way, Callable[[], None]]]) -> None:
        """Each job on as many processes as its way wants; all have ended when it returns."""
        for size in (4, 2, 1):
            mine = self.me // size
            wanted = [(out, job) for out, (way, job) in jobs.items() if way.size == size]
            for index, (out, job) in enumerate(wanted):
                if index % (self.size // size) == mine:
                    with self.ranks(out.name, size):
                        job()
            self.wait()

    @contextmanager
    def ranks(self, name: str, size: int) -> Iterator[None]:
        """This process as one of `size` ranks that meet under a name of their own in the launcher's store."""
        rank, real = self.me % size, dist.init_process_group
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank))
        place, meeting = distribution.memory_place, dist.PrefixStore(name, self.store)

        def join(backend: str, timeout: timedelta) -> None:
            real(backend, store=meeting, rank=rank, world_size=size, timeout=timeout)

        dist.init_process_group = join
        if "gloo" in name.rpartition("then")[2]:
            distribution.memory_place = lambda: None
        try:
            yield
        finally:
            dist.init_process_group, distribution.memory_place = real, place

    def wait(self) -> None:
        self.turns += 1
        if self.store.add(f"turn/{self.turns}", 1) == self.size:
            self.store.set(f"turned/{self.turns}", "")
        self.store.wait([f"turned/{self.turns}"], timedelta(minutes=10))


def train_until(recipe: Recipe, stop: int | None) -> None:
    """Trains; the last rank is sent SIGTERM in its step `stop`."""
    plain, calls = Engine.forward_backward, 0

    def forward_backward(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
            signal.raise_signal(signal.SIGTERM)
        return plain(*args, **more)

    Engine.forward_backward = forward_backward  # type: ignore[method-assign]
    try:
        done = loop.train(recipe)
    finally:
        Engine.forward_backward = plain  # type: ignore[method-assign]
    assert done.step == (stop or STEPS) and bool(done.signal) == bool(stop), done


def resume_copy(lab: Lab, case: Case) -> None:
    out, source, step = lab.resumed(case), lab.stopped(case.before, case.order), ORDERS[case.order][2]
    if int(os.environ["RANK"]) == 0:
        shutil.copytree(source, out)
        for checkpoint in (out / "checkpoints").iterdir():
            if int(checkpoint.name.removeprefix("step-")) > step:
                shutil.rmtree(checkpoint)
        lab.store.set(f"copied/{out.name}", "")
    lab.store.wait([f"copied/{out.name}"], timedelta(minutes=2))
    error = None
    try:
        assert loop.train(lab.recipe(out, case.after, case.order), resume=True).step == STEPS
    except Exception as failed:  # written down: one combination must not end the others
        error = f"{type(failed).__name__}: {str(failed).splitlines()[0] if str(failed) else ''}"
        if dist.is_initialized():
            dist.destroy_process_group()
    if int(os.environ["RANK"]) == 0:
        (out / "error.json").write_text(json.dumps(error))


def state(run: Path, step: int) -> dict[str, torch.Tensor]:
    """Model and training state of a checkpoint, whichever way it was written."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    found = {f"model/{name}": t for name, t in load_file(folder / "model.safetensors").items()}
    if not (shards := folder / "train_state/shards").is_dir():
        return found | load_file(folder / "train_state/optimizer.safetensors")
    listed = dcp.FileSystemReader(shards).read_metadata().state_dict_metadata
    sharded = {name: torch.zeros(told.size, dtype=told.properties.dtype) for name, told in listed.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(sharded, checkpoint_id=shards, no_dist=True)
    return found | sharded


def losses(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "train"]


def outcome(lab: Lab, case: Case) -> dict[str, Any]:
    """How many tensors the training state had, and how far the resumed run ended from one that was not stopped."""
    run, source, step = lab.resumed(case), lab.stopped(case.before, case.order), ORDERS[case.order][2]
    told = {"before": vars(case.before), "after": vars(case.after), "order": case.order}
    there = {name for name in state(source, step) if not name.startswith("model/")}
    told |= {"keys": len(there), "error": json.loads((run / "error.json").read_text())}
    if told["error"] is not None:
        return told
    whole = lab.reference(case.before)
    ours, theirs = state(run, STEPS), state(whole, STEPS)
    told["wanted"] = sum(not name.startswith("model/") for name in theirs)
    told["same_names"] = ours.keys() == theirs.keys() and there == {n for n in theirs if not n.startswith("model/")}
    told["equal"] = told["same_names"] and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    told["equal"] = told["equal"] and losses(run) == losses(whole)
    shared = [name for name in theirs if name in ours and not name.startswith("step/")]
    told["apart"] = max(float((ours[name] - theirs[name]).abs().max()) for name in shared)
    told["losses_apart"] = max(abs(a - b) for a, b in zip(losses(run), losses(whole), strict=True))
    return told


def main() -> None:
    torch.set_num_threads(1)
    loop.matmul_peak = lambda *_: 1e9  # a third of a second each time
    lab, every = Lab(Path(sys.argv[1]), sys.argv[2]), list(cases())
    if named := sys.argv[3:]:
        every = [case for case in every if case.name in named and case.order in named]
    befores = dict.fromkeys(case.before for case in every)
    stopped = dict.fromkeys((case.before, case.order) for case in every)

    def whole(way: Way) -> tuple[Way, Callable[[], None]]:
        return way, lambda: train_until(lab.recipe(lab.reference(way), way, None), None)

    def stop(way: Way, order: str) -> tuple[Way, Callable[[], None]]:
        return way, lambda: train_until(lab.recipe(lab.stopped(way, order), way, order), STOP)

    def go_on(case: Case) -> tuple[Way, Callable[[], None]]:
        return case.after, lambda: resume_copy(lab, case)

    if lab.me == 0:
        lab.write_rows()
    tuned = [way for way in befores if "lora" in way.extra]
    plain = {**befores, **dict.fromkeys([PLAIN] if tuned else [])}
    lab.do({lab.reference(way): whole(way) for way in plain if way not in tuned})
    lab.do({lab.reference(way): whole(way) for way in tuned})
    lab.do({lab.stopped(way, order): stop(way, order) for way, order in stopped})
    lab.do({lab.resumed(case): go_on(case) for case in every})
    if lab.me == 0:
        (lab.folder / "outcomes.json").write_text(json.dumps([outcome(lab, case) for case in every]))
    lab.wait()


if __name__ == "__main__":
    main()
