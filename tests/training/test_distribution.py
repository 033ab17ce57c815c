"""One run on 1, 2 and 4 real processes: the same losses, and the same end after it is stopped or a process killed.

All combinations of kinds, ranks and orders of validating and saving: `matrix.py`, which `test_shards.py` runs (slow).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

import unmask
from training import matrix
from training.matrix import state
from unmask.errors import UserError
from unmask.training import checkpoint
from unmask.training.distribution import Ranks, share_of
from unmask.training.loop import train

SLOW = pytest.mark.slow
STEPS = 50
# The recipe of all runs here: random lengths and Bernoulli masks, with or without an average, so that nothing can hide.
# A validation at each step, so that any two runs can be compared; runs of their own validate when `WAYS` says.
RECIPE: dict[str, Any] = {
    "steps": STEPS, "batch_size": 8, "log_every": 1, "checkpoint__every": 10, "checkpoint__keep": 10,
    "objective__random_length": 0.3, "objective__masking": "bernoulli", "model__tie_embeddings": True,
}  # fmt: skip
EMA = {**RECIPE, "ema": 0.9}
FSDP, HYBRID = ["--parallel.kind", "fsdp"], ["--parallel.kind", "fsdp", "--parallel.shard", "2"]
# Ranks, recipe, options: validated before each checkpoint, at each step, and between checkpoints.
WAYS: dict[str, tuple[int, dict[str, Any], list[str]]] = {
    "ddp2": (2, EMA, ["--parallel.kind", "ddp"]),
    "ddp4": (4, {**RECIPE, "validation__every": 1}, ["--micro_batch", "1"]),
    "fsdp2": (2, RECIPE, [*FSDP, "--micro_batch", "2", "--activation_checkpointing", "true"]),
    "hybrid4": (4, {**RECIPE, "validation__every": 7}, HYBRID),
}


def losses(run: Path, kind: str = "train") -> dict[int, float]:
    """By step."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {record["step"]: record["loss"] for record in records if record["kind"] == kind}


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None
    return load_file(newest / "model.safetensors")


def agree(run: Path, reference: Path) -> None:
    """To float tolerance: every step's loss, every validation, and the weights in the model folder."""
    assert losses(run).keys() == losses(reference).keys()
    for kind in ("train", "validation"):
        wanted = losses(reference, kind)
        assert losses(run, kind) == pytest.approx({step: wanted[step] for step in losses(run, kind)}, rel=2e-4), kind
    expected = weights(reference)
    for name, tensor in weights(run).items():
        torch.testing.assert_close(tensor, expected[name], atol=2e-4, rtol=2e-3, msg=name)


def finish(command: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env={**os.environ, **changes})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, lab_in: Any) -> Any:
    """The lab in which one process has trained both recipes to their end."""
    lab = lab_in(tmp_path_factory.mktemp("alone"))
    train(lab.recipe("alone", **RECIPE, validation__every=1))
    train(lab.recipe("alone-ema", **EMA, validation__every=1))
    return lab


@pytest.fixture(scope="module")
def whole(alone: Any) -> Callable[[str], Any]:
    """What the command that runs a way to its end has done; each runs once."""
    done: dict[str, subprocess.CompletedProcess[str]] = {}

    def run(way: str) -> subprocess.CompletedProcess[str]:
        if way not in done:
            ranks, recipe, words = WAYS[way]
            done[way] = finish(alone.torchrun(ranks, "train", alone.file(way, **recipe), *words, "--json"))
        return done[way]

    return run


@pytest.mark.parametrize("way", ["ddp2", "fsdp2", *(pytest.param(way, marks=SLOW) for way in ("ddp4", "hybrid4"))])
def test_any_number_of_ranks_is_the_same_run(alone: Any, whole: Any, way: str) -> None:
    done = whole(way)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    result = json.loads(done.stdout)
    assert (result["step"], result["ranks"]) == (STEPS, WAYS[way][0]), "one process speaks"
    agree(alone.folder / way, alone.folder / ("alone-ema" if "ema" in WAYS[way][1] else "alone"))
    assert unmask.load(alone.folder / way).kind == "mdm", "the model folder is whole"
    assert len(losses(alone.folder / "alone")) == STEPS


@pytest.mark.parametrize(
    ("way", "ranks", "words"),
    [
        ("ddp2", 2, None), pytest.param("fsdp2", 2, None, marks=SLOW), pytest.param("ddp4", 4, None, marks=SLOW),
        pytest.param("hybrid4", 4, None, marks=SLOW),
        pytest.param("hybrid4", 2, ["--parallel.kind", "ddp"], marks=SLOW),
    ],
)
def test_a_checkpoint_goes_on_as_if_never_stopped(
    alone: Any, whole: Any, tmp_path: Path, way: str, ranks: int, words: list[str] | None
) -> None:
    """As after a kill -9 behind step 40: bit for bit on the same ranks, to float tolerance on others."""
    assert whole(way).returncode == 0
    run = tmp_path / "run"
    shutil.copytree(alone.folder / way, run)
    shutil.rmtree(run / f"checkpoints/step-{STEPS:08d}")
    options = WAYS[way][2] if words is None else words
    done = finish(alone.torchrun(ranks, "train", alone.folder / f"{way}.yaml", "--out", run, *options, "--resume"))
    assert done.returncode == 0 and "resumed at step 40" in done.stderr, done.stderr
    if words is None:
        assert losses(run) == losses(alone.folder / way)
        ours, theirs = state(run, STEPS), state(alone.folder / way, STEPS)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert sum(name.startswith("exp_avg/") for name in theirs) == 14
    else:
        agree(run, alone.folder / way)


@pytest.mark.slow
def test_sums_by_sockets_go_on_bit_for_bit(data: Path, tmp_path: Path) -> None:
    """On four ranks that share no memory, as between hosts, or in a container with little of it."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    done = finish([*launcher, matrix.__file__, str(tmp_path), str(data), "gloo-4-gloo-4", "save, validate"])
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "outcomes.json").read_text())
    assert found["error"] is None and found["equal"], found


def wait_for(run: Path, checkpoints: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(checkpoint.checkpoints(run)) < checkpoints:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def rank_processes(launcher: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """Those that have begun: a process has its launcher's environment until then."""
    children = [(child, child.environ()) for child in psutil.Process(launcher.pid).children()]
    return {int(given["RANK"]): child for child, given in children if "RANK" in given}


@pytest.mark.parametrize(
    ("kind", "victim", "after"),
    [("fsdp", 0, 1), *(pytest.param(*way, marks=SLOW) for way in (("ddp", 1, 4), ("fsdp", 1, 2)))],
)
def test_a_rank_that_dies_is_named_and_others_go_on(alone: Any, kind: str, victim: int, after: int) -> None:
    name = f"{kind}-{victim}"
    run, recipe = alone.folder / name, alone.file(name, **(RECIPE if victim == 0 else EMA))
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
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    assert "resumed at step" in done.stderr
    agree(run, alone.folder / ("alone" if victim == 0 else "alone-ema"))


STUCK = """
import os, signal, sys, time, torch
from unmask.training import heartbeat
from unmask.training.distribution import Ranks
heartbeat.STUCK_SECONDS = 3.0
with Ranks(torch.device("cpu")) as ranks, ranks.watched():
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


def test_a_signal_to_one_rank_stops_all_after_the_same_step_and_they_go_on(alone: Any) -> None:
    """Saved by the signal alone, and gone on with by one process."""
    name = "signal"
    rare = {**RECIPE, "checkpoint__every": 100, "validation__every": 100}
    run, recipe = alone.folder / name, alone.file(name, **rare)
    words = ["train", recipe, *FSDP, "--micro_batch", "1"]
    process = subprocess.Popen(alone.torchrun(2, *words), stderr=subprocess.PIPE, text=True)
    deadline, ranks = time.monotonic() + 60, {}
    while not (run / "metrics.jsonl").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        ranks = rank_processes(process)
        time.sleep(0.01)
    ranks[1].send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    stopped = re.search(r"stopped by signal 15 after step (\d+); saved", said)
    assert stopped, said
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None and newest.name == f"step-{int(stopped[1]):08d}"
    done = finish(alone.command(*words, "--resume"))
    assert done.returncode == 0 and f"resumed at step {stopped[1]}" in done.stderr, done.stderr
    agree(run, alone.folder / "alone")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch_size", "9"], "batch_size 9 does not divide by 2 ranks"),
        pytest.param(["--micro_batch", "8"], "batch_size 8 does not divide by 2 ranks x micro_batch 8", marks=SLOW),
        (["--parallel.kind", "fsdp", "--parallel.shard", "3"], "parallel.shard 3 does not divide 2 ranks"),
        pytest.param(["--parallel.kind", "tensor"], "parallel.kind is 'tensor'", marks=SLOW),
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
    ranks.size = 2
    with pytest.raises(UserError, match="batch_size 8 does not divide by 2 ranks x micro_batch 8"):
        share_of(np.arange(8), ranks, 8)
    ranks.size = 5
    with pytest.raises(UserError, match="batch_size 48 does not divide by 5 ranks"):
        share_of(k, ranks, 0)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "rank 0 of 2 cannot join the others: .*MASTER_ADDR.*torchrun"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is '2' of WORLD_SIZE '2'"),
        ({"RANK": "first", "WORLD_SIZE": "2"}, "RANK is 'first' of WORLD_SIZE '2'"),
    ],
)
def test_ranks_that_cannot_meet_are_one_line(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, str], message: str
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        Ranks(torch.device("cpu"))


def test_half_a_launcher_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    ranks = Ranks(torch.device("cpu"))
    assert (ranks.rank, ranks.size, ranks.joined, ranks.orphaned) == (0, 1, False, 0)
