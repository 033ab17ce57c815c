"""`unmask plan`: each part of the memory against real tensors, the sum against the resident set of a process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unmask import errors
from unmask.diffusion.objective import Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.flops import StepCost, training_flops_per_token
from unmask.model.presets import preset
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks
from unmask.training.optimizer import build_optimizer
from unmask.training.options import PlanOptions
from unmask.training.plan import USES, block_bytes_per_token, describe, device_memory, duration, plan
from unmask.training.recipe_fields import OptimizerFields
from unmask.training.step import Engine

SMALL = {"n_layer": 2, "n_head": 4, "n_embd": 64, "vocab_size": 97, "block_size": 32}


def train_once(config: ModelConfig, batch: int) -> tuple[Transformer, torch.optim.Optimizer, Engine]:
    """A forward and backward pass over random tokens."""
    network = Transformer(config, seed=0)
    optimizer = build_optimizer(network, OptimizerFields())
    objective = Objective(ObjectiveConfig(kind=config.kind, random_length=0.0))
    engine = Engine(network, objective, optimizer, Ranks(torch.device("cpu")))
    windows = np.random.default_rng(0).integers(0, config.vocab_size, (batch, config.block_size + 1))
    inputs = objective.prepare(windows, 0, np.arange(batch), config.mask_id)
    engine.forward_backward([inputs], inputs.n_tokens)
    return network, optimizer, engine


def saved_bytes(network: Transformer, tokens_BT: torch.Tensor) -> int:
    """Storage that the layers keep for their backward pass, weights and tables apart."""
    own = {t.untyped_storage().data_ptr() for t in [*network.parameters(), *network.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # holding it keeps its address from being used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.hidden(tokens_BT)
        return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": True}, {"causal": True, "n_kv_head": 2}])
def test_weights_gradients_and_optimizer_are_the_bytes_of_the_tensors(changes):
    config = ModelConfig(**SMALL | changes)
    network, optimizer, engine = train_once(config, batch=2)
    gradients = sum(parameter.grad.nbytes for parameter in network.parameters())
    engine.update(1e-3)
    moments = sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    memory = device_memory(config, PlanOptions("6M", 1e6, batch=2, context=32, precision="fp32"), 2, 1)
    assert memory["weights"] == sum(parameter.nbytes for parameter in network.parameters())
    assert memory["gradients"] == gradients
    assert memory["optimizer"] == moments


@pytest.mark.parametrize("changes", [{}, {"n_kv_head": 2, "intermediate_size": 80}, {"causal": True}])
def test_block_keeps_what_the_formula_says(changes):
    tokens_BT = torch.zeros(3, 32, dtype=torch.long)
    configs = (ModelConfig(**SMALL | changes | {"n_layer": layers}) for layers in (1, 3))
    one, three = (saved_bytes(Transformer(config, seed=0), tokens_BT) for config in configs)
    measured = (three - one) / 2 / tokens_BT.numel()
    assert measured == pytest.approx(sum(block_bytes_per_token(ModelConfig(**SMALL | changes))), rel=0.05)


def test_total_is_the_peak_of_a_process():
    """The rise of the resident set over that before the model, two steps, within a quarter of the plan."""
    code = """
import json, sys, torch
from unmask.model.config import ModelConfig
from unmask.training.metrics import peak_memory
sys.path.insert(0, sys.argv[1])
from test_plan import train_once
config = ModelConfig(n_layer=4, n_head=4, n_embd=256, vocab_size=512, block_size=512)
train_once(ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=50, block_size=8), 1)  # what loads at first use
before = peak_memory(torch.device("cpu"))
network, optimizer, engine = train_once(config, batch=8)
engine.update(1e-3)
print(json.dumps(peak_memory(torch.device("cpu")) - before))
"""
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=100, check=True)
    measured = json.loads(done.stdout)
    config = ModelConfig(n_layer=4, n_head=4, n_embd=256, vocab_size=512, block_size=512)
    options = PlanOptions("6M", 1e6, batch=8, context=512, vocab=512, precision="fp32", device="cpu")
    planned = device_memory(config, options, 8, 1)["total"]
    assert planned > 300 << 20  # enough for the noise of a process to be small beside it
    assert measured == pytest.approx(planned, rel=0.25)


def test_shards_divide_what_lasts_and_checkpointing_what_passes():
    base = PlanOptions("170M", 1e9, gpus=8, peak=100.0)
    whole, sharded = plan(base).memory, plan(dataclasses.replace(base, parallel="fsdp")).memory
    hybrid = plan(dataclasses.replace(base, parallel="fsdp", shard=2)).memory
    for name in ("weights", "gradients"):
        assert sharded[name] * 8 == pytest.approx(whole[name], rel=1e-6)
        assert hybrid[name] * 2 == pytest.approx(whole[name], rel=1e-6)
    less = plan(dataclasses.replace(base, activation_checkpointing=True))
    assert less.memory["activations"] < whole["activations"] / 4
    assert less.flops["exact"] == plan(base).flops["exact"] < less.flops["executed"] < 4 / 3 * less.flops["exact"]


def test_steps_flops_and_time():
    options = PlanOptions("6M", 1e8, gpus=2, batch=8, context=512, peak=0.5, efficiency=0.25, random_length=0.0)
    found = plan(options)
    assert found.steps == int(1e8 / (8 * 512))
    assert found.tokens == found.steps * 8 * 512
    assert found.flops["6nd"] == pytest.approx(6 * preset("6M").n_params_non_embedding * found.tokens)
    share = ObjectiveConfig(random_length=0.0).head_share(512)
    per_token = training_flops_per_token(preset("6M", block_size=512), 512, share)
    assert found.flops["exact"] == pytest.approx(per_token * found.tokens)
    assert found.flops["executed"] == pytest.approx(found.steps * 8 * StepCost(found.config).of(1, 512, share * 512))
    assert 0.9 < found.flops["executed"] / found.flops["exact"] < 1, "the last layer ends at masked positions"
    assert found.seconds == pytest.approx(found.flops["executed"] / (2 * 0.5e12 * 0.25))
    assert f"{found.flops['executed']:.4g} executed" in describe(found)
    assert not found.peak_measured
    assert plan(dataclasses.replace(options, peak=None)).peak_measured


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"size": "7M"}, "7M"),
        ({"tokens": 0}, "--tokens"),
        ({"gpus": 3}, "--batch 256 does not divide by --gpus 3"),
        ({"gpus": 2, "micro_batch": 3}, "--micro-batch 3"),
        ({"gpus": 4, "shard": 3}, "--shard 3"),
        ({"efficiency": 0.0}, "--efficiency"),
        ({"peak": -1.0}, "--peak"),
        ({"parallel": "tp"}, "--parallel"),
    ],
)
def test_bad_input_names_the_option(fields, named):
    with pytest.raises(errors.UserError, match=named):
        plan(PlanOptions(**{"size": "6M", "tokens": 1e6, "peak": 1.0} | fields))


def test_every_part_of_the_memory_is_explained():
    found = plan(PlanOptions("6M", 1e8, gpus=2, parallel="fsdp", peak=1.0))
    lines = describe(found).splitlines()
    assert found.memory.keys() == USES.keys() and all(found.memory.values())
    for name, meaning in USES.items():
        assert [line for line in lines if line.startswith(f"  {name} ") and line.endswith(f"  {meaning}")]
    guide = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    table = guide.partition("`unmask plan`: on paper")[2]
    assert all(f"| `{name}` |" in table for name in USES)


def test_durations():
    assert [duration(s) for s in (90, 7199, 7200, 86400 * 3)] == ["1.5 min", "120 min", "2 h", "3.0 days"]
