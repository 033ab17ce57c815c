"""Dropout in training: a function of (seed, sample, layer), so resumed runs, micro-batches and ranks drop the same.

    python -m pytest tests/training/test_dropout.py
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import unmask
from unmask.data.shards import TokenData
from unmask.diffusion.objective import Inputs, Objective
from unmask.errors import UserError
from unmask.model.transformer import Transformer
from unmask.training.batches import Batches
from unmask.training.checkpoint import TENSORS
from unmask.training.distribution import Ranks, share_of
from unmask.training.loop import train
from unmask.training.optimizer import build_optimizer
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import compile_layers, model_config
from unmask.training.step import Engine

STEPS, HALF = 8, 4
RATE = 0.2


def state(run: str | Path) -> dict[str, torch.Tensor]:
    last = Path(run) / "checkpoints" / f"step-{STEPS:08d}"
    found = {**load_file(last / "model.safetensors"), **load_file(last / TENSORS)}
    return {name: tensor.clone() for name, tensor in found.items()}


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(a[name], b[name], rtol=1e-4, atol=1e-5) for name in a)


@pytest.fixture(scope="module", params=["mdm", "arm"])
def whole(request: Any, lab_in: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A run with dropout that was never stopped, with a checkpoint half-way."""
    lab = lab_in(tmp_path_factory.mktemp("whole"))
    changes = {"steps": STEPS, "checkpoint__every": HALF, "checkpoint__keep": 9, "dropout": RATE}
    recipe: Recipe = lab.recipe("run", objective__kind=request.param, **changes)
    train(recipe)
    return recipe


def half(whole: Recipe, out: Path, **changes: Any) -> Recipe:
    """The same run as it was half-way, elsewhere."""
    shutil.copytree(whole.out, out)
    shutil.rmtree(out / "checkpoints" / f"step-{STEPS:08d}")
    return dataclasses.replace(whole, out=str(out), **changes)


def test_a_resumed_run_is_bit_for_bit_the_same(whole: Recipe, tmp_path: Path) -> None:
    train(half(whole, tmp_path / "run"), resume=True)
    a, b = state(whole.out), state(tmp_path / "run")
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("name", "value"), [("micro_batch", 1), ("activation_checkpointing", True)])
def test_how_a_step_is_computed_changes_rounding_alone(whole: Recipe, tmp_path: Path, name: str, value: Any) -> None:
    train(half(whole, tmp_path / "run", **{name: value}), resume=True)
    assert close(state(whole.out), state(tmp_path / "run"))


def test_it_drops(whole: Recipe, tmp_path: Path) -> None:
    """Without it the weights are others; and it is neither in the model nor in what the model says."""
    plain = dataclasses.replace(whole, out=str(tmp_path / "plain"), dropout=0.0)
    train(plain)
    assert not close(state(whole.out), state(plain.out))
    a, b = unmask.load(whole.out), unmask.load(plain.out)
    assert a.config == b.config and "dropout" not in json.dumps(a.config.to_dict())
    tokens_BT = torch.arange(16)[None]
    assert torch.equal(a.network(tokens_BT), a.network(tokens_BT))


def test_validation_drops_nothing(whole: Recipe) -> None:
    """It tells the loss of the checkpoint as anyone loads it."""
    recipe = whole
    data = TokenData(recipe.data, "train")
    model = unmask.load(recipe.out)
    found = Batches(recipe, data, model.config).validate(model)
    records = [json.loads(line) for line in (Path(recipe.out) / "metrics.jsonl").read_text().splitlines()]
    told = [record["loss"] for record in records if record["kind"] == "validation"][-1]
    assert found["loss"] == pytest.approx(told, rel=1e-6)


def parts_of(lab: Any, size: int, ranks: int = 1, **changes: Any) -> list[list[Inputs]]:
    """By rank, the micro-batches of the third step."""
    recipe = lab.recipe("x", batch_size=8, dropout=RATE, **changes)
    data = TokenData(recipe.data, "train")
    batches = Batches(recipe, data, model_config(recipe, data.vocab_size, data.eos_id))
    ordered = batches.order(np.arange(16, 24))
    found = []
    for rank in range(ranks):
        fake = type("R", (), {"size": ranks, "rank": rank})()
        found.append([batches.inputs(k) for k in share_of(ordered, fake, size)])
    return found


def engine_of(lab: Any, rate: float = RATE, bf16: bool = False, compiled: bool = False, **changes: Any) -> Engine:
    recipe = lab.recipe("x", batch_size=8, dropout=rate, **changes)
    data = TokenData(recipe.data, "train")
    network = Transformer(model_config(recipe, data.vocab_size, data.eos_id), seed=1).drop(rate)
    if compiled:
        compile_layers(network, lambda text: None)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else None
    optimizer = build_optimizer(network, recipe.optimizer)
    return Engine(network, Objective(recipe.objective), optimizer, Ranks(torch.device("cpu")), False, autocast)


def gradient(engine: Engine, parts: list[Inputs]) -> tuple[float, torch.Tensor]:
    loss = engine.forward_backward(parts, 128.0).loss
    return loss, torch.cat([p.grad.flatten() for p in engine.network.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_ranks_and_micro_batches_add_up_to_the_whole_batch(lab: Any, kind: str) -> None:
    whole = gradient(engine_of(lab, objective__kind=kind), parts_of(lab, 8, objective__kind=kind)[0])
    for size, ranks in [(2, 1), (4, 2), (1, 4)]:
        parts = parts_of(lab, size, ranks, objective__kind=kind)
        shares = [gradient(engine_of(lab, objective__kind=kind), own) for own in parts]
        assert sum(loss for loss, _ in shares) == pytest.approx(whole[0], rel=1e-5)
        total = torch.stack([share for _, share in shares]).sum(0)
        torch.testing.assert_close(total, whole[1], rtol=1e-4, atol=1e-6)


def test_in_bf16_it_drops_the_same(lab: Any) -> None:
    parts = parts_of(lab, 8)[0]
    plain, none = gradient(engine_of(lab), parts), gradient(engine_of(lab, 0.0), parts)
    found = gradient(engine_of(lab, bf16=True), parts)
    assert abs(none[0] - plain[0]) > 0.01
    assert found[0] == pytest.approx(plain[0], rel=0.01)
    assert float((found[1] - plain[1]).norm() / plain[1].norm()) < 0.05


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("layers", [2, 5])  # one graph, and a graph a layer
def test_compiled_it_drops_the_same(lab: Any, bf16: bool, layers: int) -> None:
    parts = parts_of(lab, 8, model__n_layer=layers)[0]
    plain = gradient(engine_of(lab, bf16=bf16, model__n_layer=layers), parts)
    found = gradient(engine_of(lab, bf16=bf16, compiled=True, model__n_layer=layers), parts)
    assert found[0] == pytest.approx(plain[0], rel=0.005 if bf16 else 1e-5)
    assert float((found[1] - plain[1]).norm() / plain[1].norm()) < (0.05 if bf16 else 1e-4)


def test_fine_tuning_with_several_examples_a_row_drops_by_sample(whole: Recipe, tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "completion": f"c{i}" * (1 + i % 3)} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = {**whole.to_dict(), "init": whole.out, "model": {}, "data": str(tmp_path / "rows.jsonl"), "lora": None}
    fields |= {"sft": {"padding": "ignore", "packing": True, "validation_share": 0.2}}
    for name, micro in (("one", 0), ("other", 1)):
        train(build(Recipe, {**fields, "out": str(tmp_path / name), "micro_batch": micro}, ""))
    assert close(state(tmp_path / "one"), state(tmp_path / "other"))
    train(build(Recipe, {**fields, "out": str(tmp_path / "plain"), "dropout": 0.0}, ""))
    assert not close(state(tmp_path / "one"), state(tmp_path / "plain"))


def test_zero_is_no_dropout_and_costs_nothing(lab: Any) -> None:
    """No keys, so that layers take the path that they always took."""
    recipe = lab.recipe("x")
    data = TokenData(recipe.data, "train")
    inputs = Batches(recipe, data, model_config(recipe, data.vocab_size, data.eos_id)).inputs(np.arange(4))
    assert recipe.dropout == 0.0 and inputs.dropout_BL is None


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_a_share_that_is_none_is_refused(lab: Any, rate: float) -> None:
    with pytest.raises(UserError, match=f"dropout is {rate}; give at least 0 and below 1"):
        lab.recipe("x", dropout=rate)
