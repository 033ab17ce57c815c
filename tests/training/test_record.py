"""A run's record: going on by its folder, from anywhere and after a move, and for longer than it was begun."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from unmask.errors import UserError
from unmask.settings import RECIPES
from unmask.training import checkpoint
from unmask.training.loop import train
from unmask.training.record import chosen_recipe, read_record


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest_checkpoint(run)
    assert newest is not None
    found = {**load_file(newest / "model.safetensors"), **load_file(newest / checkpoint.TENSORS)}
    return {name: tensor.clone() for name, tensor in found.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def resume(run: Path | str, **overrides: str) -> Any:
    changes = {name.replace("__", "."): value for name, value in overrides.items()}
    return train(chosen_recipe(str(run), changes, resume=True), resume=True)


def saved(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    return found


CONSTANT = {"optimizer__schedule": "constant", "optimizer__warmup": 3}


# ---------------------------------------------------------------- what the word behind `train` means


def test_a_path_that_exists_comes_first_then_a_shipped_recipe(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"data": str(lab.data), "out": "o"}
    for name in ("demo-mdm", "demo-mdm.yaml", str(RECIPES / "demo-mdm.yaml")):
        assert chosen_recipe(name, places, resume=False).model.n_embd == 96
    own = lab.file("x")
    shutil.copy(own, "demo-mdm")
    assert chosen_recipe("demo-mdm", places, resume=False).model.n_embd == 16


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("demo-mdn", r"demo-mdn does not exist \(did you mean 'demo-mdm'\?\); give a recipe or a run, or"),
        ("recipes/demo-mdm.yaml", "did you mean the shipped recipe demo-mdm"),
        ("runs/nowhere", "runs/nowhere does not exist; give a recipe or a run"),
        ("empty", "empty is a folder and no run: it has no recipe.yaml; give a run folder or a recipe"),
        ("run", "run is a run; add --resume to go on with it, or copy its recipe.yaml elsewhere"),
        ("run/recipe.yaml", "run/recipe.yaml is the recipe of a run; add --resume"),
        ("run/checkpoints/step-00000001", "it is a checkpoint of .*run$"),
    ],
)
def test_what_is_no_recipe_is_named(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    train(lab.recipe("run", steps=1))
    for resumed in (False, True) if "run" not in word else (False,):
        with pytest.raises(UserError, match=message) as caught:
            chosen_recipe(word, {}, resumed)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "run"]


# ---------------------------------------------------------------- going on by the folder


def test_a_run_resumes_by_its_folder_from_anywhere(lab: Any, tmp_path: Path) -> None:
    """In processes of their own: begun with relative paths and overrides, resumed without them from elsewhere."""
    (tmp_path / "home" / "runs").mkdir(parents=True)
    (tmp_path / "home" / "text").symlink_to(lab.data)
    words = [lab.file("unused"), "--data", "text", "--out", "runs/a", "--steps", "9", "--batch_size", "2"]
    begun = subprocess.run(lab.command("train", *words), cwd=tmp_path / "home", capture_output=True, text=True)
    assert begun.returncode == 0 and begun.stdout.startswith("runs/a: step 9 of 9"), begun.stderr
    run = tmp_path / "home" / "runs" / "a"
    recorded = saved(run)
    assert (recorded["data"], recorded["out"]) == (str(tmp_path / "home" / "text"), str(run))
    for step in (run / "checkpoints").iterdir():
        if step.name != "step-00000008":
            shutil.rmtree(step)
    words = ["train", os.path.relpath(run, lab.data), "--resume"]
    done = subprocess.run(lab.command(*words), cwd=lab.data, capture_output=True, text=True)
    assert done.returncode == 0 and "resumed at step 8" in done.stderr, done.stderr
    assert "step 9 of 9" in done.stdout


def test_a_moved_run_resumes_where_it_lies_with_moved_data(lab: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(lab.data, data)
    train(lab.recipe("run", data=str(data), checkpoint__every=8, checkpoint__keep=5))
    before = weights(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000012")
    (tmp_path / "new").mkdir()
    moved = (tmp_path / "run").rename(tmp_path / "new" / "run")
    data.rename(tmp_path / "new" / "data")
    with pytest.raises(UserError, match=f"data {data}, which .*recipe.yaml names, is not there; give --data"):
        resume(moved)
    with pytest.raises(UserError, match="--out is elsewhere, but the run lies in"):
        resume(moved, out="elsewhere")
    with pytest.raises(UserError, match="batch_size was 4, is 2"):
        resume(moved, data=str(tmp_path / "new" / "data"), batch_size="2")
    assert resume(moved, data=str(tmp_path / "new" / "data"), log_every="3").step == 12
    assert same(weights(moved), before)
    assert not (tmp_path / "run").exists()
    recorded = saved(moved)  # so that the next time nothing need be said
    assert (recorded["data"], recorded["out"]) == (str(tmp_path / "new" / "data"), str(moved))
    assert recorded["log_every"] == 10
    assert resume(moved).step == 12


def test_an_old_run_with_relative_paths(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").symlink_to(lab.data)
    train(lab.recipe("run"))
    old = saved(tmp_path / "run") | {"data": "text", "out": "run"}
    del old["checkpoint"], old["wandb"]  # keys that its version did not know
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(old))
    monkeypatch.chdir("/")
    with pytest.raises(UserError, match="data text, which .* not there; give --data .* or go where the run was begun"):
        resume(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert train(lab.recipe("run", data="text", out="run"), resume=True).step == 12
    assert saved(tmp_path / "run")["data"] == str(tmp_path / "text")
    monkeypatch.chdir("/")
    assert resume(tmp_path / "run").step == 12


def test_a_base_and_held_out_rows_may_move_too(lab: Any, tmp_path: Path) -> None:
    train(lab.recipe("base", objective__kind="arm"))
    train(lab.recipe("other", objective__kind="arm", model__n_layer=1))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "{i}+1", "completion": "{i + 1}"}}\n' for i in range(30)))
    shutil.copy(rows, tmp_path / "held.jsonl")
    plain = {"data": str(rows), "init": str(tmp_path / "base"), "model": {}, "objective__kind": "arm", "steps": 4}
    train(lab.recipe("sft", **plain, sft={"validation": str(tmp_path / "held.jsonl")}))
    assert saved(tmp_path / "sft")["sft"]["validation"] == str(tmp_path / "held.jsonl")
    (tmp_path / "base").rename(tmp_path / "moved")
    (tmp_path / "held.jsonl").rename(tmp_path / "there.jsonl")
    with pytest.raises(UserError, match="init .*base, which .* names, is not there; give --init with its place now"):
        resume(tmp_path / "sft")
    with pytest.raises(UserError, match="sft.validation .*held.jsonl, which"):
        resume(tmp_path / "sft", init=str(tmp_path / "moved"))
    there = {"sft__validation": str(tmp_path / "there.jsonl")}
    with pytest.raises(UserError, match="other is another model than"):
        resume(tmp_path / "sft", init=str(tmp_path / "other"), **there)
    (tmp_path / "sft" / "init.json").unlink()  # as of a run begun before there were such records
    with pytest.raises(UserError, match="other is of another shape than"):
        resume(tmp_path / "sft", init=str(tmp_path / "other"), **there)
    assert resume(tmp_path / "sft", init=str(tmp_path / "moved"), **there).step == 4
    assert saved(tmp_path / "sft")["init"] == str(tmp_path / "moved")
    shutil.rmtree(tmp_path / "sft" / "checkpoints")
    (tmp_path / "sft" / "init.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match="has no checkpoint yet; give the first"):
        resume(tmp_path / "sft", init=str(tmp_path / "other"))
    (tmp_path / "there.jsonl").write_text('{"prompt": "other", "completion": "rows"}\n' * 3)
    with pytest.raises(UserError, match="has changed"):
        resume(tmp_path / "sft")


# ---------------------------------------------------------------- longer


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_extended_constant_run_is_the_uninterrupted_one_bit_for_bit(lab: Any, tmp_path: Path, ema: float) -> None:
    """Uninterrupted: begun with the longer budget and, said outright, the warm-up that the shorter one has."""
    train(lab.recipe("whole", steps=30, ema=ema, **CONSTANT))
    train(lab.recipe("cut", steps=11, ema=ema, **CONSTANT))
    resume(tmp_path / "cut", steps="17")
    assert resume(tmp_path / "cut", steps="30").steps == 30
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert saved(tmp_path / "cut")["extensions"] == [
        {"step": 11, "from": {"steps": 11}, "to": {"steps": 17}, "steps": [11, 17]},
        {"step": 17, "from": {"steps": 17}, "to": {"steps": 30}, "steps": [17, 30]},
    ]
    assert saved(tmp_path / "cut")["steps"] == 30


def test_automatic_values_stay_as_first_resolved(lab: Any, tmp_path: Path) -> None:
    """Ten steps give a warm-up of one and an interval of one; forty alone would give four of each."""
    train(lab.recipe("auto", steps=10, optimizer__schedule="constant"))
    resume(tmp_path / "auto", steps="20")
    resume(tmp_path / "auto", steps="40")
    said = {"optimizer__warmup": 1, "validation__every": 1, "checkpoint__every": 1}
    train(lab.recipe("said", steps=40, optimizer__schedule="constant", **said))
    assert same(weights(tmp_path / "auto"), weights(tmp_path / "said"))
    names = [[p.name for p in checkpoint.checkpoints(tmp_path / name)] for name in ("auto", "said")]
    assert names[0] == names[1] == ["step-00000039", "step-00000040"]


@pytest.mark.parametrize(("budget", "more"), [("tokens", "600"), ("flops", "6e7"), ("steps", "2e1"), ("epochs", "0.2")])
def test_any_budget_makes_a_run_longer(lab: Any, tmp_path: Path, budget: str, more: str) -> None:
    train(lab.recipe("run", steps=5, **CONSTANT))
    done = resume(tmp_path / "run", **{budget: more})
    assert done.step == done.steps > 5
    assert saved(tmp_path / "run")[budget] == float(more) and saved(tmp_path / "run")["steps"] in (0, 20)
    assert resume(tmp_path / "run").steps == done.steps


@pytest.mark.slow
def test_ranks_go_on_by_the_folder_and_for_longer(lab: Any, tmp_path: Path) -> None:
    train(lab.recipe("run", steps=5, **CONSTANT))
    train(lab.recipe("whole", steps=9, **CONSTANT))
    words = lab.torchrun(2, "train", tmp_path / "run", "--resume", "--steps", "9")
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("made longer at step 5: 9 steps instead of 5") == 1 and "2 ranks" in done.stderr
    assert saved(tmp_path / "run")["extensions"][0]["steps"] == [5, 9]
    ours, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-3)


def test_a_longer_budget_of_a_stopped_run_counts_from_where_it_is(lab: Any, tmp_path: Path) -> None:
    train(lab.recipe("whole", steps=14, **CONSTANT))
    train(lab.recipe("cut", steps=10, checkpoint__every=4, checkpoint__keep=9, **CONSTANT))
    for step in ("step-00000008", "step-00000010"):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / step)
    resume(tmp_path / "cut", steps="14")
    assert saved(tmp_path / "cut")["extensions"][0]["step"] == 4
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


def test_wsd_is_made_longer_before_its_decay_and_not_after(lab: Any, tmp_path: Path) -> None:
    wsd = {"optimizer__schedule": "wsd", "optimizer__warmup": 2, "optimizer__decay_share": 0.25}
    train(lab.recipe("run", steps=16, checkpoint__every=6, checkpoint__keep=9, **wsd))
    with pytest.raises(UserError, match="cannot go on from 16 to 32 steps: optimizer.schedule wsd falls since step 12"):
        resume(tmp_path / "run", steps="32")
    assert "extensions" not in saved(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000016")
    resume(tmp_path / "run", steps="32")  # from step 12, the last at the full rate
    # The fall keeps its four steps: an eighth of the longer run.
    train(lab.recipe("whole", steps=32, **{**wsd, "optimizer__decay_share": 0.125}))
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_what_cannot_be_longer_is_refused_and_nothing_is_changed(lab: Any, tmp_path: Path) -> None:
    train(lab.recipe("run", steps=6))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    cases = [
        ({"steps": "12"}, "optimizer.schedule cosine falls towards its last step from the first on; begin a new run"),
        ({"steps": "3"}, "steps 3 is 3 steps, fewer than the 6 of .*; a run can only be made longer"),
        ({"tokens": "70"}, r"tokens 70 is 1 steps, fewer than the 6 of .* \(steps 6\)"),
        ({"steps": "12", "flops": "1e9"}, "not steps and flops"),
        ({"steps": "0"}, "steps is 0; give at least 1"),
        ({"optimizer__schedule": "constant", "steps": "12"}, "optimizer.schedule was 'cosine', is 'constant'"),
    ]
    for changes, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            resume(tmp_path / "run", **changes)
        assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_record_that_cannot_be_written_leaves_the_old_one(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(lab.recipe("run", steps=6, **CONSTANT))
    before = (tmp_path / "run" / "recipe.yaml").read_bytes()
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == "recipe.yaml":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="recipe.yaml cannot be written: No space left"):
        resume(tmp_path / "run", steps="12")
    monkeypatch.undo()
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == before
    assert resume(tmp_path / "run", steps="12").step == 12


def test_a_record_that_is_damaged_is_named(lab: Any, tmp_path: Path) -> None:
    train(lab.recipe("run", steps=1))
    path = tmp_path / "run" / "recipe.yaml"
    whole = path.read_text()
    ends = ("extensions: [1]\n", "extensions: [{from: {lr: 1}}]\n", "extensions: {}\nseed: 2\n")
    for text in ("a: [", "words", *(whole + end for end in ends)):
        path.write_text(text)
        with pytest.raises(UserError, match="recipe.yaml is damaged") as caught:
            resume(tmp_path / "run")
        assert "\n" not in str(caught.value)
    path.write_text(whole.replace("schema_version: 1", "schema_version: 2"))
    with pytest.raises(UserError, match="schema_version is 2, this version reads 1"):
        resume(tmp_path / "run")
    path.write_text(whole)
    assert read_record(tmp_path / "run") is not None and read_record(tmp_path) is None
