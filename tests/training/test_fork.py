"""Forks: the trunk's weights bit for bit, under a recipe of its own, killed and resumed, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unmask.errors import UserError
from unmask.training import checkpoint
from unmask.training.dry_run import dry_run
from unmask.training.loop import train
from unmask.training.metrics import read_records
from unmask.training.optimizer import learning_rate
from unmask.training.recipe import build
from unmask.training.recipe_fields import OptimizerFields, Recipe, fork_of
from unmask.training.record import chosen_recipe

CLOCKS = ("seconds", "tokens_per_second", "matmul_peak_share", "data_wait_share", "memory")
TRUNK: dict[str, Any] = {"optimizer__schedule": "constant", "checkpoint__at": [4, 8], "checkpoint__keep": 1}
TRUNK |= {"log_every": 3}


@pytest.fixture(scope="module", autouse=True)
def _no_peak() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmask.training.loop.matmul_peak", lambda device, dtype: 1e12)
        yield


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None
    return {**load_file(newest / "model.safetensors"), **load_file(newest / checkpoint.TENSORS)}


def same(a: Path, b: Path) -> bool:
    ours, theirs = weights(a), weights(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def told(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in CLOCKS} for record in read_records(run)]


@pytest.fixture(scope="module")
def trunk(lab_in: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of 12 steps at a constant rate, with named checkpoints."""
    lab = lab_in(tmp_path_factory.mktemp("trunk"))
    train(lab.recipe("trunk", **TRUNK))
    lab.trunk = lab.folder / "trunk"
    return lab


def test_named_checkpoints_stay(trunk: Any) -> None:
    names = [folder.name for folder in checkpoint.checkpoints(trunk.trunk)]
    assert names == ["step-00000004", "step-00000008", "step-00000012"]


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"objective__kind": "arm", "unique_tokens": 160.0}])
def test_with_the_same_recipe_it_goes_on_as_the_trunk_would(lab: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Also from the middle of a line of metrics, on tokens that come again, and with averaged weights."""
    train(lab.recipe("trunk", **TRUNK, **changes))
    done = train(lab.recipe("fork", fork=f"{tmp_path / 'trunk'}@8", **TRUNK, **changes))
    assert done.step == 12 and same(tmp_path / "fork", tmp_path / "trunk")
    assert told(tmp_path / "fork") == told(tmp_path / "trunk")
    assert done.tokens == read_records(tmp_path / "trunk")[-2]["tokens"]
    record = json.loads((tmp_path / "fork" / "fork.json").read_text())
    assert record["source"] == str(tmp_path / "trunk") and record["step"] == 8
    assert record["tokens"] == done.tokens * 8 // 12


def test_adapters_on_answers_fork_too(trunk: Any, tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = trunk.recipe("unused", **TRUNK).to_dict()
    fields |= {"data": str(tmp_path / "rows.jsonl"), "init": str(trunk.trunk), "model": {}}
    fields |= {"sft": {"padding": "ignore"}, "lora": {"rank": 2}}
    tuned, fork = str(tmp_path / "tuned"), f"{tmp_path / 'tuned'}@8"
    train(build(Recipe, {**fields, "out": tuned}, ""))
    train(build(Recipe, {**fields, "out": str(tmp_path / "fork"), "fork": fork}, ""))
    assert same(tmp_path / "fork", tmp_path / "tuned")
    with pytest.raises(UserError, match="lora.alpha was .* is 1.0"):
        other = {**fields, "out": str(tmp_path / "x"), "fork": fork, "lora": {"rank": 2, "alpha": 1.0}}
        train(build(Recipe, other, ""))
    with pytest.raises(UserError, match="trained on other data|began with no data"):
        train(trunk.recipe("refused", fork=fork))
    assert not (tmp_path / "x").exists() and not (trunk.folder / "refused").exists()


def test_a_number_type_that_is_not_given_is_the_trunks(trunk: Any) -> None:
    train(trunk.recipe("typed", fork=f"{trunk.trunk}@8", precision="auto", **TRUNK))
    told = json.loads((trunk.folder / "typed" / "precision.json").read_text())
    assert (told["precision"], told["why"]) == ("fp32", "as the run it forks off")
    assert same(trunk.folder / "typed", trunk.trunk)


def test_under_its_own_recipe_it_is_the_trunks_longer_self(trunk: Any, tmp_path: Path) -> None:
    """A cooldown from step 8 to 16 is what `wsd` does in its last half of 16 steps."""
    fork = f"{trunk.trunk}@8"
    shared = {"steps": 16, "optimizer__warmup": 1, "log_every": 3}
    folder = trunk.folder
    train(trunk.recipe("branch", fork=fork, optimizer__schedule="cooldown", **shared))
    train(trunk.recipe("wsd", optimizer__schedule="wsd", optimizer__decay_share=0.5, **shared))
    assert same(folder / "branch", folder / "wsd")
    assert told(folder / "branch")[-1] == told(folder / "wsd")[-1]


def test_a_fork_of_a_killed_branch_resumes_exactly(trunk: Any, tmp_path: Path) -> None:
    """With a checkpoint of its own, which is all it needs then, and before it had any."""
    trunk_folder = shutil.copytree(trunk.trunk, tmp_path / "trunk")
    changes = {"steps": 16, "optimizer__schedule": "cooldown", "checkpoint__every": 6, "checkpoint__keep": 9}
    recipe = trunk.recipe("resumed", fork=f"{trunk_folder}@8", **changes)
    train(recipe)
    run = Path(recipe.out)
    whole = shutil.copytree(run, tmp_path / "whole")
    for folder in checkpoint.checkpoints(run):
        shutil.rmtree(folder)
    assert train(chosen_recipe(str(run), {}, resume=True), resume=True).step == 16 and same(run, whole)
    shutil.rmtree(run / "checkpoints" / "step-00000016")
    shutil.rmtree(trunk_folder)
    assert train(chosen_recipe(str(run), {}, resume=True), resume=True).step == 16 and same(run, whole)
    for folder in checkpoint.checkpoints(run):
        shutil.rmtree(folder)
    with pytest.raises(UserError, match="is no folder"):
        train(chosen_recipe(str(run), {}, resume=True), resume=True)
    with pytest.raises(UserError, match="fork was"):
        train(chosen_recipe(str(run), {"fork": f"{trunk.trunk}@4"}, resume=True), resume=True)
    assert train(chosen_recipe(str(run), {"fork": f"{trunk.trunk}@8"}, resume=True), resume=True).step == 16
    assert same(run, whole)


def test_the_command_takes_the_trunks_recipe(trunk: Any, tmp_path: Path) -> None:
    words = ("train", trunk.trunk, "--fork", f"{trunk.trunk}@4", "--out", tmp_path / "branch")
    done = trunk.run(*words, "--steps", "6", "--optimizer.schedule", "cooldown", "--checkpoint.at", "[5]")
    assert done.returncode == 0, done.stderr
    assert f"forked off {trunk.trunk}@4" in done.stderr
    assert [f.name for f in checkpoint.checkpoints(tmp_path / "branch")] == ["step-00000005", "step-00000006"]
    again = trunk.run(*words)
    assert again.returncode == 2 and "already holds a run" in again.stderr and again.stderr.count("\n") == 1
    bare = trunk.run(*words[:4])
    assert bare.returncode == 2 and "--out is missing" in bare.stderr


def test_a_dry_run_knows_where_it_stands(trunk: Any) -> None:
    found = dry_run(trunk.recipe("dry", fork=f"{trunk.trunk}@8"))
    assert found is not None and found.plan["done"] == 8 and not (trunk.folder / "dry").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fork": "{trunk}@7"}, "no checkpoint of step 7; give one of 4, 8, 12"),
        ({"fork": "{trunk}"}, "give RUN@STEP"),
        ({"fork": "{trunk}x@4"}, "is no folder"),
        ({"fork": "{data}@4"}, "no checkpoint of step 4; it has no checkpoint at all"),
        ({"model__n_layer": 1}, "n_layer was 2, is 1"),
        ({"objective__kind": "arm"}, "causal was False, is True"),
        ({"context": 8}, "context was 16, is 8"),
        ({"batch_size": 8}, "batch_size was 4, is 8"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"unique_tokens": 64}, "unique_tokens was 0.0, is 64.0"),
        ({"ema": 0.9}, "averages no weights"),
        ({"steps": 8}, "begins at step 8, and the run ends at 8"),
        ({"out": "{trunk}"}, "already holds a run|out and fork are both"),
    ],
)
def test_what_is_refused_is_one_line_and_leaves_nothing(trunk: Any, changes: dict[str, Any], words: str) -> None:
    places = {"trunk": trunk.trunk, "data": trunk.data}
    changes = {"fork": "{trunk}@8", **changes}
    changes = {name: value.format(**places) if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(UserError, match=words) as caught:
        train(trunk.recipe("refused", **changes))
    assert "\n" not in str(caught.value)
    assert not (trunk.folder / "refused").exists()


def test_other_data_and_a_damaged_checkpoint_are_refused(trunk: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(trunk.trunk, tmp_path / "trunk")
    record = json.loads((copy / "data.json").read_text())
    record["train"]["sha256"] = ["0"]
    record["tokenizer_sha256"] = "0"
    (copy / "data.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="other data: tokenizer, train data"):
        train(trunk.recipe("refused", fork=f"{copy}@8"))
    shutil.copyfile(trunk.trunk / "data.json", copy / "data.json")
    damaged = copy / "checkpoints" / "step-00000008" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="step-00000008 is damaged: .*give another step: 4, 8, 12"):
        train(trunk.recipe("refused", fork=f"{copy}@8"))
    assert not (trunk.folder / "refused").exists()


def test_a_cooldown_is_of_a_fork_and_falls_from_there() -> None:
    fields = OptimizerFields(lr=1.0, schedule="cooldown", warmup=2, final=0.1)
    rates = [learning_rate(step, 20, fields, forked_at=10) for step in range(10, 20)]
    assert rates[0] == 1.0 and rates[5] == pytest.approx(0.55) and rates[9] == pytest.approx(0.19)
    assert fork_of("a@b/c@12") == ("a@b/c", 12)


def test_a_cooldown_without_a_fork_is_refused(lab: Any) -> None:
    with pytest.raises(UserError, match="add --fork RUN@STEP"):
        lab.recipe("x", optimizer__schedule="cooldown")
    with pytest.raises(UserError, match=r"checkpoint\.at is 0; give at least 1"):
        lab.recipe("x", checkpoint__at=[0])


def test_a_cooldown_cannot_be_made_longer(trunk: Any) -> None:
    recipe = trunk.recipe("longer", fork=f"{trunk.trunk}@8", optimizer__schedule="cooldown")
    train(recipe)
    with pytest.raises(UserError, match="cooldown falls towards its last step"):
        train(chosen_recipe(recipe.out, {"steps": "20"}, resume=True), resume=True)


@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_ranks_fork_as_one_process_does(trunk: Any, tmp_path: Path, kind: str) -> None:
    """Off a checkpoint of one process, and off one of two."""
    def torchrun(*words: str | Path) -> None:
        command = trunk.torchrun(2, *words, "--parallel.kind", kind)
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr

    torchrun("train", trunk.trunk, "--fork", f"{trunk.trunk}@8", "--out", tmp_path / "two")
    torchrun("train", tmp_path / "two", "--fork", f"{tmp_path / 'two'}@12", "--out", tmp_path / "on", "--steps", "14")
    train(trunk.recipe(f"one-{kind}", fork=f"{trunk.trunk}@12", **{**TRUNK, "steps": 14}))
    ours, theirs = (
        load_file(run / "checkpoints" / "step-00000014" / "model.safetensors")
        for run in (tmp_path / "on", trunk.folder / f"one-{kind}")
    )
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)
