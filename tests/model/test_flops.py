"""FLOP counts against PyTorch's own counter on real passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unmask.diffusion.objective import Inputs, Objective, ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.flops import StepCost, forward_flops, training_flops_per_token
from unmask.model.lora import LoRAFields, add_adapters
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks
from unmask.training.optimizer import build_optimizer
from unmask.training.recipe import OptimizerFields
from unmask.training.step import Engine

SIZES = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 50, "block_size": 32}


def counted(config: ModelConfig, batch: int, length: int, head_tokens: int, backward: bool = False) -> int:
    network = Transformer(config, seed=0)
    tokens_BT = torch.zeros(batch, length, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        hidden_NE = network.hidden(tokens_BT).flatten(0, 1)[:head_tokens]
        total = network.head(hidden_NE).sum()
        if backward:
            total.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("changes", [{}, {"n_kv_head": 2}, {"intermediate_size": 48}, {"head_dim": 16}])
@pytest.mark.parametrize("head_tokens", [1, 17, 60])
def test_a_forward_pass(changes: dict[str, int], head_tokens: int) -> None:
    config = ModelConfig(**SIZES, **changes)
    assert counted(config, 3, 20, head_tokens) == 3 * forward_flops(config, 20, head_tokens / 3)


def test_training_is_three_forward_passes() -> None:
    config = ModelConfig(**SIZES)
    per_token = training_flops_per_token(config, 20, head_share=0.5)
    # The embedding's gradient is a scatter, the first layer's input needs one: 3x exactly.
    assert counted(config, 2, 20, 20, backward=True) == pytest.approx(40 * per_token, rel=1e-12)


def test_causal_attention_counts_half_the_square() -> None:
    both = ModelConfig(**SIZES)
    causal = ModelConfig(**SIZES, causal=True)
    saved = forward_flops(both, 20, 0) - forward_flops(causal, 20, 0)
    assert saved == 4 * (20 * 19 / 2) * 2 * 32  # the pairs above the diagonal, in two layers


def test_the_papers_rule() -> None:
    config = ModelConfig(**SIZES)
    assert training_flops_per_token(config, 20, 0.5, "6nd") == 6 * config.n_params_non_embedding


def step(network: Transformer, objective: Objective, micro_batch: int = 6) -> tuple[int, list[Inputs]]:
    """FLOPs that PyTorch counts in a real step over six windows of 20 tokens, and its micro-batches."""
    windows = np.random.default_rng(0).integers(0, 50, (6, 21))
    parts = [
        objective.prepare(windows[k], 0, k, network.config.mask_id)
        for k in np.arange(6).reshape(-1, micro_batch)
    ]  # fmt: skip
    optimizer = build_optimizer(network, OptimizerFields())
    engine = Engine(network, objective, optimizer, Ranks(torch.device("cpu")))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        engine.forward_backward(parts, sum(part.n_tokens for part in parts))
        engine.update(1e-3)
    return counter.get_total_flops(), parts


def predicted(cost: StepCost, parts: list[Inputs]) -> float:
    """The plain attention that PyTorch counts here computes the whole square for a causal model too."""
    return sum(cost.of(*part.tokens_BT.shape, len(part.positions_N), masked=True) for part in parts)  # type: ignore[call-arg, misc]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"n_layer": 1}, {"n_kv_head": 2}, {"intermediate_size": 48}, {"head_dim": 16}, {"tie_embeddings": True}],
)
@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_what_a_step_executes(kind: str, changes: dict[str, int], recompute: bool) -> None:
    config = ModelConfig(**SIZES | {"n_layer": 3, "causal": kind == "arm"} | changes)
    for fields, micro_batch in (({"random_length": 0.0}, 6), ({"random_length": 0.9}, 2), ({"masking": "fixed"}, 3)):
        network = Transformer(config, seed=0)
        network.recompute = recompute
        counted_, parts = step(network, Objective(ObjectiveConfig(kind=kind, **fields)), micro_batch)  # type: ignore[arg-type]
        assert counted_ == pytest.approx(predicted(StepCost(config, recompute), parts), rel=1e-12)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("targets", ["qkv", "out", "gate_up", "down", "out,down", "qkv,out,gate_up,down"])
@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_what_a_step_of_adapters_executes(kind: str, targets: str, recompute: bool) -> None:
    config = ModelConfig(**SIZES | {"n_layer": 3, "causal": kind == "arm"})
    network, fields = Transformer(config, seed=0), LoRAFields(rank=3, targets=targets)
    add_adapters(network, fields, seed=0)
    network.recompute = recompute
    counted_, parts = step(network, Objective(ObjectiveConfig(kind=kind, random_length=0.0)))
    assert counted_ == pytest.approx(predicted(StepCost(config, recompute, 3, fields.names), parts), rel=1e-12)


def test_a_step_does_less_than_the_budget_s_rule_counts_and_a_causal_one_half_the_square() -> None:
    config = ModelConfig(**SIZES, causal=False)
    whole = 20 * training_flops_per_token(config, 20, 0.5)
    assert StepCost(config).of(1, 20, 20) == pytest.approx(20 * training_flops_per_token(config, 20, 1.0))
    finish = 2 * (32 * 32 + 3 * 32 * config.intermediate_size)
    assert whole - StepCost(config).of(1, 20, 10) == pytest.approx(3 * 10 * finish)
    causal = StepCost(ModelConfig(**SIZES, causal=True))
    assert causal.of(1, 20, 20, masked=True) - causal.of(1, 20, 20) == 3 * 4 * (20 * 19 / 2) * 2 * 32
