"""Any flipped bit of a checkpoint is found, and the run ends as if nothing had happened.

    python -m pytest -s -m slow tests/training/test_checkpoint.py      # 64 bits over all files, as a table
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unmask.errors import UserError
from unmask.model.checkpoints import FILES, checkpoints, flaw, newest_checkpoint, read_list
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.training import checkpoint, loop
from unmask.training.loop import train

# Four checkpoints of a run of 16 steps; flips are in the third, as if the run had been stopped after it.
STEPS: dict[str, Any] = {"steps": 16, "checkpoint__every": 4, "checkpoint__keep": 9, "validation__every": 16}
SHARDED = {**STEPS, "parallel__kind": "fsdp"}
BEFORE, FLIPPED, LAST = "step-00000008", "step-00000012", "step-00000016"


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e12)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as the one rank of a launcher, so that what is sharded goes the way of many."""
    names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    yield


def stopped(lab: Any, **changes: Any) -> tuple[Path, dict[str, str]]:
    """A run folder that goes on from its third checkpoint, and the sums that its last one must have."""
    train(lab.recipe("whole", **changes))
    end = ending(lab.folder / "whole")
    shutil.rmtree(lab.folder / "whole" / "checkpoints" / LAST)
    return lab.folder / "whole", end


def ending(run: Path) -> dict[str, str]:
    """Sums of what a run ends with: weights, moments, model; not the clock, nor what names its own folder."""
    newest = newest_checkpoint(run, full=True)
    assert newest is not None and newest.name == LAST
    files = read_list(newest).files
    clocks = (checkpoint.STATE, f"{checkpoint.SHARDS}/.metadata")
    return {name: str(found.sha256) for name, found in files.items() if name not in clocks}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def files_of(run: Path) -> list[str]:
    folder = run / "checkpoints" / FLIPPED
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def resumed_after_flips(
    lab: Any, base: Path, end: dict[str, str], bits: int, capfd: Any, **changes: Any
) -> dict[str, tuple[int, int, int]]:
    """By file: bits flipped one at a time, how many of them were found, after how many the run ended the same."""
    rng = np.random.default_rng(12)
    names = files_of(base)
    table: dict[str, tuple[int, int, int]] = {}
    for index, name in enumerate(names):
        flips = bits // len(names) + (index < bits % len(names))
        size = 8 * (base / "checkpoints" / FLIPPED / name).stat().st_size
        found = same = 0
        for bit in [*rng.integers(size, size=flips - 1).tolist(), size - 1]:
            run = lab.folder / "cut"
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(base, run)
            flip(run / "checkpoints" / FLIPPED / name, bit)
            capfd.readouterr()
            train(lab.recipe("cut", **changes), resume=True)
            said = capfd.readouterr().err.splitlines()
            what = name if name != FILES else f"{FILES} does not match its own sha256"
            told = [line for line in said if line.startswith(f"{FLIPPED} is damaged: {what}")]
            found += len(told) == 1 and told[0].endswith(f"; going back to {BEFORE}")
            same += ending(run) == end
        table[name] = (flips, found, same)
    return table


def test_a_flipped_bit_in_any_file_is_found_and_the_run_ends_the_same(lab: Any, capfd: Any) -> None:
    base, end = stopped(lab, **STEPS)
    names = files_of(base)
    model = {"model.safetensors", "config.json", "tokenizer.json"}
    assert model | {checkpoint.TENSORS, checkpoint.STATE, FILES} == {*names}
    table = resumed_after_flips(lab, base, end, len(names), capfd, **STEPS)
    assert table == dict.fromkeys(names, (1, 1, 1))
    run = lab.folder / "cut"  # flipped once more, in the last file
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        f"damaged-{FLIPPED}", "step-00000004", BEFORE, FLIPPED, LAST,
    ]  # fmt: skip
    wanted = "model.safetensors does not match its sha256"
    flip(run / "checkpoints" / LAST / "model.safetensors", 999_999 % 5000 * 8)
    capfd.readouterr()
    train(lab.recipe("cut", **STEPS), resume=True)
    assert f"{LAST} is damaged: {wanted}; going back to {FLIPPED}\n" in capfd.readouterr().err


def test_sharded_state_is_summed_while_it_is_written(lab: Any, joined: None, capfd: Any) -> None:
    base, end = stopped(lab, **SHARDED)
    shards = f"{checkpoint.SHARDS}/__0_0.distcp", f"{checkpoint.SHARDS}/.metadata"
    listed = read_list(base / "checkpoints" / FLIPPED).files
    assert {*shards} < {*listed} and flaw(base / "checkpoints" / FLIPPED) is None
    for name in shards:
        run = lab.folder / "cut"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(base, run)
        flip(run / "checkpoints" / FLIPPED / name, 8 * 5000)
        capfd.readouterr()
        train(lab.recipe("cut", **SHARDED), resume=True)
        assert f"{FLIPPED} is damaged: {name} does not match its sha256; going back" in capfd.readouterr().err
        assert ending(run) == end


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "sharded"])
def test_64_flipped_bits(lab: Any, capfd: Any, kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "sharded":
        request.getfixturevalue("joined")
    changes = SHARDED if kind == "sharded" else STEPS
    base, end = stopped(lab, **changes)
    table = resumed_after_flips(lab, base, end, 64, capfd, **changes)
    with capfd.disabled():
        print(f"\n{'file':<36} flipped  found  ended the same")
        for name, (flips, found, same) in table.items():
            print(f"{name:<36} {flips:>7} {found:>6} {same:>15}")
        print(f"{'all':<36} {sum(t[0] for t in table.values()):>7} {sum(t[1] for t in table.values()):>6}", end="")
        print(f" {sum(t[2] for t in table.values()):>15}")
    assert sum(flips for flips, _, _ in table.values()) == 64
    assert all(flips == found == same for flips, found, same in table.values())


@pytest.mark.slow
def test_ranks_sum_their_own_shards(lab: Any) -> None:
    recipe = lab.file("run", **SHARDED)
    command = lab.torchrun(2, "train", recipe)
    assert subprocess.run(command, capture_output=True, timeout=100).returncode == 0
    run = lab.folder / "run"
    end = ending(run)
    shutil.rmtree(run / "checkpoints" / LAST)
    flip(run / "checkpoints" / FLIPPED / checkpoint.SHARDS / "__1_0.distcp", 8 * 3000)
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    told = f"{FLIPPED} is damaged: {checkpoint.SHARDS}/__1_0.distcp does not match its sha256; going back to {BEFORE}"
    assert done.stderr.count(told) == 1
    assert ending(run) == end


def test_sizes_alone_are_checked_where_the_recipe_says_so(lab: Any, capfd: Any) -> None:
    base, _ = stopped(lab, **STEPS)
    flip(base / "checkpoints" / FLIPPED / checkpoint.TENSORS, 8 * 30_000)
    capfd.readouterr()
    train(lab.recipe("whole", **STEPS, checkpoint__verify="sizes"), resume=True)
    said = capfd.readouterr().err
    assert "damaged" not in said and "resumed at step 12" in said
    with pytest.raises(UserError, match="checkpoint.verify is 'ful' .did you mean 'full'?"):
        lab.recipe("whole", checkpoint__verify="ful")


def as_before(run: Path) -> None:
    """The run as an earlier version would have left it: sizes alone, no id, nothing of the data."""
    for folder in checkpoints(run):
        sizes = {name: found.size for name, found in read_list(folder).files.items()}
        (folder / FILES).write_text(json.dumps(sizes) + "\n")
    for name in ("run.json", "data.json"):
        (run / name).unlink()


def test_a_run_begun_before_resumes_with_a_line_and_is_then_like_any_other(lab: Any, capfd: Any) -> None:
    base, end = stopped(lab, **STEPS)
    as_before(base)
    capfd.readouterr()
    train(lab.recipe("whole", **STEPS), resume=True)
    said = capfd.readouterr().err
    line = f"{FLIPPED} was written before checkpoints had sums of their files: only sizes are checked\n"
    assert line in said and f"{base} did not record what it was begun with, now data.json does: tokenizer" in said
    assert ending(base) == end
    assert read_list(base / "checkpoints" / LAST).run == json.loads((base / "run.json").read_text())["id"]
    train(lab.recipe("whole", **STEPS), resume=True)
    assert "did not record" not in capfd.readouterr().err


@pytest.mark.parametrize("step", [94, "x", None])
def test_a_step_that_is_not_the_folder_s_is_found_by_sizes_alone(lab: Any, capfd: Any, step: Any) -> None:
    base, end = stopped(lab, **STEPS)
    as_before(base)
    state = base / "checkpoints" / FLIPPED / checkpoint.STATE
    state.write_text(json.dumps({**json.loads(state.read_text()), "step": step}))
    (state.parent / "files.json").write_text(
        json.dumps({**json.loads((state.parent / "files.json").read_text()), checkpoint.STATE: state.stat().st_size})
    )
    capfd.readouterr()
    train(lab.recipe("whole", **STEPS), resume=True)
    assert f"{FLIPPED} is damaged: {checkpoint.STATE} is of step {step}; going back" in capfd.readouterr().err
    assert ending(base) == end


def test_another_model_s_checkpoint_is_one_line(lab: Any) -> None:
    base, _ = stopped(lab, **STEPS)
    as_before(base)
    config = base / "checkpoints" / FLIPPED / "config.json"
    fields = json.loads(config.read_text())
    fields["model"]["vocab_size"] += 10
    fields["tokenizer_hash"] = None
    config.write_text(json.dumps(fields))
    listed = base / "checkpoints" / FLIPPED / FILES
    listed.write_text(json.dumps({**json.loads(listed.read_text()), "config.json": config.stat().st_size}))
    with pytest.raises(UserError, match="step-00000012 is of another model: vocab_size was 310, is 300; give the run"):
        train(lab.recipe("whole", **STEPS), resume=True)


def test_the_same_adapters_are_the_same_bytes(lab: Any, changed_recipe: Any) -> None:
    """The whole file, header and all, at each write: their order was a matter of chance."""
    train(lab.recipe("base", steps=2))
    written = set()
    for number in range(6):
        train(lab.recipe(f"run{number}", init=str(lab.folder / "base"), model={}, lora={"rank": 2}, steps=2))
        newest = newest_checkpoint(lab.folder / f"run{number}")
        assert newest is not None
        written.add((newest / checkpoint.ADAPTER).read_bytes())
        assert checkpoint.ADAPTER in read_list(newest).files
    assert len(written) == 1


def test_all_that_is_written_is_as_the_umask_says(lab: Any, joined: None) -> None:
    before = os.umask(0o022)
    try:
        train(lab.recipe("run", steps=2, **{"parallel__kind": "fsdp", "ema": 0.9}))
        save(lab.folder / "model", torch_model(), Tokenizer.plain_bytes())
    finally:
        os.umask(before)
    for place in (lab.folder / "run", lab.folder / "model"):
        modes = {path: path.stat().st_mode & 0o777 for path in place.rglob("*")}
        assert all(mode == (0o755 if path.is_dir() else 0o644) for path, mode in modes.items()), modes


def torch_model() -> Any:
    from unmask.model.config import ModelConfig
    from unmask.model.transformer import Transformer

    torch.manual_seed(0)
    return Transformer(ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=16, vocab_size=257))
