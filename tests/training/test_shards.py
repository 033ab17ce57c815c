"""Whole training states: an absent moment is an error, and every way to stop and go on, on every number of ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file

from training import matrix
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.training.checkpoint import FOLDER, SHARDS, TENSORS, Progress, TrainState, Writer, checkpoints, whole
from unmask.training.distribution import Ranks, reshard, shard
from unmask.training.loop import train
from unmask.training.optimizer import build_optimizer
from unmask.training.recipe_fields import OptimizerFields, ParallelFields
from unmask.training.shards import reason_of, shard_names, state_names

CONFIG = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=50, block_size=12, causal=False)


def stepped(step: bool = True, network: Transformer | None = None) -> TrainState:
    """A state one step in, all of whose parameters have had a gradient."""
    network = Transformer(CONFIG, seed=0) if network is None else network
    state = TrainState(network, build_optimizer(network, OptimizerFields(lr=1e-3)), Progress(step=1))
    if step:
        network(torch.zeros(1, 4, dtype=torch.int64)).sum().backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
    return state


@pytest.fixture
def ranks() -> Ranks:
    return Ranks(torch.device("cpu"))


@pytest.mark.parametrize("lost", ["all of one", "one of one", "all"])
def test_a_checkpoint_without_a_moment_is_refused_before_anything_is_written(
    tmp_path: Path, ranks: Ranks, lost: str
) -> None:
    state, writer = stepped(), Writer(tmp_path, ranks, keep=2)
    writer.save(state, None)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    moments = state.optimizer.state
    if lost == "all":
        moments.clear()
    elif lost == "all of one":
        del moments[state.network.norm.weight]
    else:
        del moments[state.network.norm.weight]["exp_avg_sq"]
    name = {"all": "'step' of embedding", "all of one": "'step' of norm", "one of one": "'exp_avg_sq' of norm"}[lost]
    for step in (1, 2):  # over the checkpoint that is there, and beside it
        state.progress.step = step
        with pytest.raises(UserError, match=f"step {step} is not written.*{name}.weight.*absent.*one before"):
            writer.save(state, None)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_whose_every_step_was_skipped_saves_moments_of_zero(tmp_path: Path, ranks: Ranks) -> None:
    state = stepped(step=False)
    state.progress.skipped = 1
    Writer(tmp_path, ranks, keep=2).save(state, None)
    (folder,) = checkpoints(tmp_path)
    found = load_file(folder / TENSORS)
    assert sorted(found) == sorted(state_names(state.network, raw=False))
    assert not any(tensor.any() for tensor in found.values())


def test_a_sharded_network_gives_up_what_it_has_gathered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On one rank, where full tensors are no copies unless one is made."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    real = dist.init_process_group
    store = dist.FileStore(str(tmp_path / "store"), 1)
    monkeypatch.setattr(dist, "init_process_group", lambda *a, **k: real(*a, **k, store=store, rank=0, world_size=1))
    with Ranks(torch.device("cpu")) as ranks:
        network = Transformer(CONFIG, seed=0)
        assert shard(network, ParallelFields(kind="fsdp"), ranks)
        state = stepped(network=network)
        with torch.no_grad():
            network.hidden(torch.zeros(1, 4, dtype=torch.int64))  # as a validation
        with pytest.raises(UserError, match="step 1 is not written.*'step' of embedding.weight .9 of 27 tensors"):
            Writer(tmp_path / "gathered", ranks, keep=2).save(state, None)
        assert not (tmp_path / "gathered").exists()
        reshard(network)
        assert len(state.tensors()) == len(state_names(network, raw=False))
        weight = network.state_dict()["norm.weight"]
        mine, shared = whole(weight, copy=True), whole(weight)
        with torch.no_grad():
            network.norm.weight.add_(1.0)
        assert torch.equal(shared, mine + 1) and torch.equal(whole(network.norm.weight), mine + 1)


def unsharded(folder: Path, without: str | None) -> None:
    found = load_file(folder / TENSORS)
    save_file({name: t for name, t in found.items() if name != without}, folder / TENSORS)
    list_anew(folder)


def sharded(folder: Path, without: str | None) -> None:
    found = load_file(folder / TENSORS)
    dcp.save({name: t for name, t in found.items() if name != without}, checkpoint_id=folder / SHARDS, no_dist=True)
    (folder / TENSORS).unlink()
    list_anew(folder)


def list_anew(folder: Path) -> None:
    """As if the files had been written as they are now: their names and sizes."""
    listed = folder / FOLDER / "files.json"
    listed.unlink()
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    listed.write_text(json.dumps(sizes))


@pytest.mark.parametrize("written", [unsharded, sharded])
def test_a_checkpoint_that_lacks_a_moment_says_so_and_keeps_its_weights(
    lab: Any, written: Callable[[Path, str | None], None]
) -> None:
    """What was written before saving refused it; the line destroys nothing."""
    recipe = lab.recipe("run", steps=2, checkpoint__every=1)
    train(recipe)
    first, last = checkpoints(lab.folder / "run")
    written(last, "exp_avg/norm.weight")
    with pytest.raises(UserError) as refused:
        train(recipe, resume=True)
    line = str(refused.value)
    assert "'exp_avg' of norm.weight (1 of 45 tensors are absent)" in line and f"--init {last}" in line
    assert "delete" not in line and "\n" not in line
    last.rename(lab.folder / "elsewhere")  # as it says
    assert train(recipe, resume=True).step == 2


def test_shards_of_one_process_resume(lab: Any) -> None:
    recipe = lab.recipe("run", steps=2, checkpoint__every=1)
    train(recipe)
    first, last = checkpoints(lab.folder / "run")
    wanted = load_file(last / TENSORS)
    last.rename(lab.folder / "elsewhere")
    sharded(first, None)
    train(recipe, resume=True)
    ours = load_file(last / TENSORS)
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)


def test_the_reason_is_that_of_the_rank_that_failed(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    failed = dcp.CheckpointException("written", {3: (ValueError("later"), None), 1: (full, None)})  # type: ignore[dict-item]
    assert reason_of(failed) == "No space left on device"
    dcp.save({"a": torch.zeros(2)}, checkpoint_id=tmp_path / "shards", no_dist=True)
    assert shard_names(tmp_path / "shards") == ["a"]
    with pytest.raises(dcp.CheckpointException) as absent:
        dcp.load({"b": torch.zeros(2)}, checkpoint_id=tmp_path / "shards", no_dist=True)
    assert "b" in reason_of(absent.value) and "\n" not in reason_of(absent.value)
    (tmp_path / "shards/.metadata").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="shards/.metadata is damaged"):
        shard_names(tmp_path / "shards")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_kind_order_and_number_of_ranks_goes_on_as_if_never_stopped(data: Path, tmp_path: Path) -> None:
    """One launch of four processes; `-s` prints the table."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    command = [*launcher, matrix.__file__, str(tmp_path), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "outcomes.json").read_text())
    print("\n" + table(found))
    assert len(found) == len(list(matrix.cases()))
    for one in found:
        assert one["error"] is None, one
        assert one["keys"] == one["wanted"] and one["same_names"], one
        assert one["equal"] or one["before"] != one["after"], one
        assert one["apart"] < 1e-5 and one["losses_apart"] < 1e-4, one


def table(found: list[dict[str, Any]]) -> str:
    """A line a way, a column an order: tensors of the training state, and = (bit for bit) or how far weights ended."""
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for one in found:
        before, after = one["before"], one["after"]
        name = f"{before['kind']} {before['extra']}".strip()
        name += f" {before['size']} -> {'' if after['kind'] == before['kind'] else after['kind'] + ' '}{after['size']}"
        ended = one["error"] or f"{one['keys']}/{one['wanted']} {'=' if one['equal'] else format(one['apart'], '.0e')}"
        rows[name][one["order"]] = ended
    lines = [f"{'ranks before -> after':24}" + "".join(f"{order:17}" for order in matrix.ORDERS)]
    for name, row in rows.items():
        lines.append(f"{name:24}" + "".join(f"{row.get(order, ''):17}" for order in matrix.ORDERS))
    return "\n".join(lines)
