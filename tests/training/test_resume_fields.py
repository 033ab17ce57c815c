"""Which settings may change when a run goes on: every recipe field, tried out.

A field that changes what is trained is refused by name and leaves the run as it was. One that may change gives the
weights of the run that was never stopped. A new field belongs into one of the tables: this file knows them all.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unmask.errors import UserError
from unmask.model.folder import load, save
from unmask.model.transformer import Transformer
from unmask.training.loop import train
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.run_folder import flat

STEPS, HALF = 12, 6
# Another value for each, of a run of 12 steps with a context of 16; "exact" bit for bit, "close" to rounding.
MAY = {
    "log_every": (5, "exact"),
    "max_skipped": (3, "exact"),
    "checkpoint.every": (2, "exact"),
    "checkpoint.at": ([3], "exact"),
    "checkpoint.keep": (1, "exact"),
    "checkpoint.verify": ("sizes", "exact"),
    "device": ("cpu", "exact"),
    "profile": (1, "exact"),
    "threads": (2, "close"),
    "micro_batch": (2, "close"),
    "compile": (True, "close"),
    "activation_checkpointing": (True, "close"),
    "parallel.kind": ("fsdp", "close"),
}
# Tried by tests of their own below.
MAY_APART = {"out", "data", "init", "fork", "parallel.shard", "wandb"}  # fork: test_fork.py
MUST_NOT = {
    "seed": 1,
    "context": 8,
    "batch_size": 8,
    "steps": 10,
    "tokens": 100.0,
    "flops": 1e6,
    "epochs": 0.01,
    "flops_rule": "6nd",
    "model.size": "6M",
    "model.n_layer": 1,
    "model.n_head": 4,
    "model.n_embd": 8,
    "model.n_kv_head": 1,
    "model.intermediate_size": 24,
    "model.head_dim": 4,
    "model.tie_embeddings": True,
    "model.rope_base": 100.0,
    "model.norm_eps": 1e-6,
    "objective.kind": "arm",
    "objective.masking": "bernoulli",
    "objective.schedule": "cosine",
    "objective.epsilon": 0.01,
    "objective.weighting": "ce",
    "objective.random_length": 0.5,
    "objective.span": 4,
    "optimizer.lr": 1e-3,
    "optimizer.beta1": 0.8,
    "optimizer.beta2": 0.9,
    "optimizer.eps": 1e-6,
    "optimizer.weight_decay": 0.0,
    "optimizer.clip": 0.5,
    "optimizer.schedule": "wsd",
    "optimizer.warmup": 3,
    "optimizer.final": 0.5,
    "optimizer.decay_share": 0.5,
    "validation.every": 3,
    "validation.windows": 2,
    "validation.draws": 3,
    "validation.seed": 1,
    "dropout": 0.1,
    "ema": 0.9,
    "precision": "bf16",  # a run in fp32; the other way it may: test_precision.py
    "unique_tokens": 64.0,
    "unique_subset": 1,
}
TUNED = {
    "sft.format": "pairs",
    "sft.fields.prompt": "q",
    "sft.fields.completion": "a",
    "sft.fields.messages": "m",
    "sft.fields.role": "r",
    "sft.fields.content": "c",
    "sft.template": "raw",
    "sft.strings.system": "S{content}",
    "sft.strings.default_system": "D",
    "sft.strings.user": "U{content}",
    "sft.strings.lead": "L",
    "sft.strings.answer": "A{content}",
    "sft.learn": "last",
    "sft.validation": "rows.jsonl",
    "sft.validation_share": 0.5,
    "sft.padding": "context",
    "sft.divisor": "sequence",
    "sft.prompt_dropout": 0.5,
    "sft.bucket_batches": 2,
    "sft.packing": True,
    "lora.rank": 3,
    "lora.alpha": 1.0,
    "lora.targets": "qkv",
}
BUDGETS = ("steps", "tokens", "flops", "epochs")


def changed(recipe: Recipe, name: str, value: Any) -> Recipe:
    """The recipe with another value of a dotted field; a budget takes the place of the old one."""
    fields: dict[str, Any] = dataclasses.asdict(recipe)
    group = fields
    *parents, last = name.split(".")
    for parent in parents:
        group = group[parent]
    group[last] = value
    if name in BUDGETS:
        fields |= {other: 0 for other in BUDGETS if other != name}
    found: Recipe = build(Recipe, {n: v for n, v in fields.items() if v is not None}, "")
    return found


def snapshot(folder: Path) -> dict[str, bytes]:
    """All that lies there, but for the lock that whoever looks opens."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{STEPS:08d}" / "model.safetensors")


def same(ours: Path, theirs: Path, how: str) -> bool:
    a, b = weights(ours), weights(theirs)
    if how == "exact":
        return all(torch.equal(a[name], b[name]) for name in b)
    return all(torch.allclose(a[name], b[name], atol=1e-5) for name in b)


@pytest.fixture(scope="module", autouse=True)
def _no_peak() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmask.training.loop.matmul_peak", lambda device, dtype: 1e12)
        patch.setattr("unmask.training.loop.compile_layers", lambda network, say: None)
        yield


@pytest.fixture(scope="module")
def whole(lab_in: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A run that was never stopped, with a checkpoint half-way."""
    lab = lab_in(tmp_path_factory.mktemp("whole"))
    recipe: Recipe = lab.recipe("run", steps=STEPS, checkpoint__every=HALF, checkpoint__keep=9, objective__span=2)
    train(recipe)
    return recipe


def half(whole: Recipe, out: Path) -> Recipe:
    """The same run as it was half-way, elsewhere."""
    shutil.copytree(whole.out, out)
    shutil.rmtree(out / "checkpoints" / f"step-{STEPS:08d}")
    return dataclasses.replace(whole, out=str(out))


def test_every_field_is_known() -> None:
    fields = {"data": "-", "out": "-", "steps": 1, "init": "-", "sft": {}, "lora": {}}
    known = flat(build(Recipe, fields, "").to_dict())
    tables = {*MAY, *MAY_APART, *MUST_NOT, *TUNED}
    assert known.keys() == tables, "say in a table of this file whether the new field may change on resume"


@pytest.mark.parametrize("name", MAY)
def test_what_may_change_changes_nothing(whole: Recipe, tmp_path: Path, name: str) -> None:
    value, how = MAY[name]
    before = half(whole, tmp_path / "run")
    assert flat(before.to_dict())[name] != value
    done = train(changed(before, name, value), resume=True)
    assert done.step == STEPS and same(tmp_path / "run", Path(whole.out), how)


def test_shards_may_change(whole: Recipe, tmp_path: Path) -> None:
    recipe = changed(half(whole, tmp_path / "run"), "parallel", {"kind": "fsdp", "shard": 1})
    assert train(recipe, resume=True).step == STEPS and same(tmp_path / "run", Path(whole.out), "close")


def test_the_run_and_its_data_may_move(whole: Recipe, tmp_path: Path) -> None:
    shutil.copytree(whole.data, tmp_path / "data")
    recipe = dataclasses.replace(half(whole, tmp_path / "moved"), data=str(tmp_path / "data"))
    assert train(recipe, resume=True).step == STEPS and same(tmp_path / "moved", Path(whole.out), "exact")


def test_wandb_may_be_added(whole: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        def __init__(self, *given: Any) -> None: ...

        def write(self, *given: Any) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr("unmask.training.loop.WandbRun", Run)
    monkeypatch.setattr("unmask.training.loop.require_wandb", lambda mode: None)
    recipe = changed(half(whole, tmp_path / "run"), "wandb", "offline")
    assert train(recipe, resume=True).step == STEPS and same(tmp_path / "run", Path(whole.out), "exact")


@pytest.fixture(scope="module")
def stopped(whole: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, dict[str, bytes]]:
    recipe = half(whole, tmp_path_factory.mktemp("stopped") / "run")
    return recipe, snapshot(Path(recipe.out))


@pytest.mark.parametrize("name", MUST_NOT)
def test_what_changes_the_training_is_refused(stopped: tuple[Recipe, dict[str, bytes]], name: str) -> None:
    recipe, before = stopped
    assert flat(recipe.to_dict())[name] != MUST_NOT[name]
    with pytest.raises(UserError, match=re.escape(name)):
        train(changed(recipe, name, MUST_NOT[name]), resume=True)
    assert snapshot(Path(recipe.out)) == before, "and the run is as it was"


@pytest.fixture(scope="module")
def tuned(whole: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, dict[str, bytes]]:
    """Adapters on prompts and answers, stopped half-way."""
    folder = tmp_path_factory.mktemp("tuned")
    rows = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = dataclasses.replace(whole, init=whole.out, model=type(whole.model)(), data=str(folder / "rows.jsonl"))
    recipe = dataclasses.replace(recipe, out=str(folder / "run"))
    recipe = build(Recipe, {**changed(recipe, "sft", {"padding": "ignore"}).to_dict(), "lora": {"rank": 2}}, "")
    train(recipe)
    shutil.rmtree(folder / "run" / "checkpoints" / f"step-{STEPS:08d}")
    return recipe, snapshot(folder / "run")


@pytest.mark.parametrize("name", TUNED)
def test_what_changes_fine_tuning_is_refused(
    tuned: tuple[Recipe, dict[str, bytes]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, before = tuned
    monkeypatch.chdir(Path(recipe.out).parent)  # some of the values are files there
    assert flat(recipe.to_dict())[name] != TUNED[name]
    # Other keys than the rows have leave nothing to read, which is as good a refusal.
    with pytest.raises(UserError, match=rf"{re.escape(name)}|without a field '{TUNED[name]}'"):
        train(changed(recipe, name, TUNED[name]), resume=True)
    assert snapshot(Path(recipe.out)) == before, "and the run is as it was"


@pytest.mark.parametrize("adapters", [True, False])
def test_the_model_that_a_run_began_with_may_move_and_not_be_another(
    tuned: tuple[Recipe, dict[str, bytes]], tmp_path: Path, adapters: bool
) -> None:
    recipe = dataclasses.replace(tuned[0], out=str(tmp_path / "run"))
    if not adapters:
        recipe = dataclasses.replace(recipe, lora=None)
        train(recipe)
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"step-{STEPS:08d}")
    else:
        shutil.copytree(tuned[0].out, tmp_path / "run")
    before, other = snapshot(tmp_path / "run"), tmp_path / "other"
    network = Transformer(load(str(recipe.init)).config, seed=9)
    save(other, network, load(str(recipe.init)).tokenizer)
    with pytest.raises(UserError, match="base" if adapters else f"init {other} is another model than"):
        train(dataclasses.replace(recipe, init=str(other)), resume=True)
    assert snapshot(tmp_path / "run") == before, "and the run is as it was"
    shutil.copytree(str(recipe.init), tmp_path / "moved")
    assert train(dataclasses.replace(recipe, init=str(tmp_path / "moved")), resume=True).step == STEPS
