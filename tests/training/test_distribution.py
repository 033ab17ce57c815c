"""One run on 1, 2 and 4 real processes: the same losses, and the same end after a process is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

import unmask
from unmask.errors import UserError
from unmask.training import checkpoint
from unmask.training.distribution import Ranks, share_of
from unmask.training.loop import train

STEPS = 50
# The recipe of all runs here: random lengths, Bernoulli masks and an average, so that nothing can hide.
RECIPE: dict[str, Any] = {
    "steps": STEPS, "batch_size": 8, "log_every": 1, "ema": 0.9, "checkpoint__every": 10, "checkpoint__keep": 10,
    "objective__random_length": 0.3, "objective__masking": "bernoulli", "model__tie_embeddings": True,
}  # fmt: skip
WAYS = {
    "ddp2": (2, ["--parallel.kind", "ddp"]),
    "ddp4": (4, ["--micro_batch", "1"]),
    "fsdp2": (2, ["--parallel.kind", "fsdp", "--micro_batch", "2", "--activation_checkpointing", "true"]),
    "hybrid4": (4, ["--parallel.kind", "fsdp", "--parallel.shard", "2"]),
}


def losses(run: Path, kind: str = "train") -> list[float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == kind]


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None
    return load_file(newest / "model.safetensors")


def agree(run: Path, reference: Path) -> None:
    """To float tolerance: every step's loss, every validation, and the weights in the model folder."""
    for kind in ("train", "validation"):
        assert losses(run, kind) == pytest.approx(losses(reference, kind), rel=2e-4), kind
    expected = weights(reference)
    for name, tensor in weights(run).items():
        torch.testing.assert_close(tensor, expected[name], atol=2e-4, rtol=2e-3, msg=name)


def finish(command: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env={**os.environ, **changes})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, lab_in: Any) -> Any:
    """The lab in which one process has trained the recipe to its end."""
    lab = lab_in(tmp_path_factory.mktemp("alone"))
    train(lab.recipe("alone", **RECIPE))
    return lab


@pytest.mark.parametrize("way", WAYS)
def test_any_number_of_ranks_is_the_same_run(alone: Any, way: str) -> None:
    ranks, words = WAYS[way]
    done = finish(alone.torchrun(ranks, "train", alone.file(way, **RECIPE), *words, "--json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["step"], result["ranks"]) == (STEPS, ranks), "one process speaks"
    agree(alone.folder / way, alone.folder / "alone")
    assert unmask.load(alone.folder / way).kind == "mdm", "the model folder is whole"
    assert len(losses(alone.folder / "alone")) == STEPS


def wait_for(run: Path, checkpoints: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(checkpoint.checkpoints(run)) < checkpoints:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def rank_processes(launcher: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    return {int(child.environ()["RANK"]): child for child in psutil.Process(launcher.pid).children()}


@pytest.mark.parametrize(("kind", "victim", "after"), [("ddp", 1, 4), ("fsdp", 0, 1), ("fsdp", 1, 2)])
def test_a_rank_that_dies_is_named_and_others_go_on(alone: Any, kind: str, victim: int, after: int) -> None:
    name = f"{kind}-{victim}"
    run, recipe = alone.folder / name, alone.file(name, **RECIPE)
    command = alone.torchrun(2, "train", recipe, "--parallel.kind", kind)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for(run, 1, process)
    ranks = rank_processes(process)
    dead = ranks[victim].pid
    ranks[victim].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and time.monotonic() - began < 40, "no hang"
    told = [line for line in said.splitlines() if line.startswith("unmask: error: ")]
    assert len(told) == 1 and re.search(rf"rank {victim} \(process {dead} on .*\) died.*--resume", told[0]), said
    assert not any(psutil.pid_exists(p.pid) and p.status() != psutil.STATUS_ZOMBIE for p in ranks.values())
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None and newest.name != f"step-{STEPS:08d}", "it was over before it could be killed"

    words = ["train", recipe, "--parallel.kind", kind, "--resume"]
    done = finish(alone.torchrun(after, *words) if after > 1 else alone.command(*words))
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stderr
    agree(run, alone.folder / "alone")


STUCK = """
import os, signal, sys, time, torch
from unmask.training import distribution
distribution.STUCK_SECONDS = 3.0
with distribution.Ranks(torch.device("cpu")) as ranks, ranks.watched():
    signal.signal(signal.SIGTERM, lambda *_: None)
    open(os.path.join(sys.argv[1], str(ranks.rank)), "w").close()
    time.sleep(60)  # as in a collective that never returns
"""


def test_a_rank_that_is_stuck_beside_a_dead_one_names_it_and_ends(alone: Any, tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    command = alone.torchrun(2, "train", "recipe")
    command = [*command[: command.index("-m", 3)], str(script), str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not all((tmp_path / str(rank)).exists() for rank in (0, 1)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    rank_processes(process)[0].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 25, "before the launcher's patience ends"
    told = [line for line in said.splitlines() if line.startswith("unmask: error: ")]
    assert len(told) == 1 and re.search(r"rank 0 \(process \d+ on .*\) died.*--resume", told[0]), said


def test_a_signal_to_one_rank_stops_all_after_the_same_step(alone: Any) -> None:
    recipe = alone.file("signal", **{**RECIPE, "steps": 100000, "checkpoint__every": 100000})
    process = subprocess.Popen(
        alone.torchrun(2, "train", recipe, "--parallel.kind", "fsdp"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (alone.folder / "signal" / "metrics.jsonl").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1)
    rank_processes(process)[1].send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    stopped = re.search(r"stopped by signal 15 after step (\d+); saved", said)
    assert stopped, said
    newest = checkpoint.newest_checkpoint(alone.folder / "signal")
    assert newest is not None and newest.name == f"step-{int(stopped[1]):08d}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch_size", "9"], "batch_size 9 does not divide by 2 ranks"),
        (["--micro_batch", "8"], "batch_size 8 does not divide by 2 ranks x micro_batch 8"),
        (["--parallel.kind", "fsdp", "--parallel.shard", "3"], "parallel.shard 3 does not divide 2 ranks"),
        (["--parallel.kind", "tensor"], "parallel.kind is 'tensor'"),
    ],
)
def test_what_does_not_divide_is_one_line(alone: Any, words: list[str], message: str) -> None:
    done = finish(alone.torchrun(2, "train", alone.file("odd", **RECIPE), *words))
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("unmask: error: ")]
    assert told and all(message in line for line in told), done.stderr
    assert not (alone.folder / "odd" / "checkpoints").exists()


def test_shares_cover_a_step_once() -> None:
    k = np.arange(48, 96)
    ranks = Ranks(torch.device("cpu"))
    for size in (1, 2, 3, 4, 6):
        ranks.size = size
        for micro in (0, 1, 2, 4):
            parts = []
            for ranks.rank in range(size):
                share = share_of(k, ranks, micro)
                assert all(len(part) == (micro or 48 // size) for part in share)
                parts += share
            assert sorted(np.concatenate(parts).tolist()) == k.tolist()
    ranks.size = 5
    with pytest.raises(UserError, match="batch_size 48 does not divide by 5 ranks"):
        share_of(k, ranks, 0)
