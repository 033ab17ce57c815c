"""FLOP counts against PyTorch's own counter on real passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unmask.diffusion.objective import Inputs, Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.flops import StepCost, attention_flops, forward_flops, training_flops_per_token
from unmask.model.lora import add_adapters
from unmask.model.lora_fields import LoRAFields
from unmask.model.presets import preset
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks
from unmask.training.optimizer import build_optimizer
from unmask.training.recipe_fields import OptimizerFields
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


# s-sahoo/scaling-dllms, configs/flops: multiply-adds and FLOPs of a forward pass of 2,048 tokens, as printed (75M has
# a feed-forward width of 4 d there).
PUBLISHED = {
    "6M": (26.4427e9, 53.026e9),
    "19M": (54.1601e9, 108.6e9),
    "34M": (85.0984e9, 170.57e9),
    "48M": (111.138e9, 222.747e9),
    "66M": (142.613e9, 285.808e9),
    "75M": (203.014e9, 406.821e9),
    "85M": (172.813e9, 346.382e9),
    "113M": (224.287e9, 449.41e9),
    "142M": (267.775e9, 536.595e9),
    "170M": (311.263e9, 623.779e9),
    "180M": (334.952e9, 671.042e9),
    "206M": (374.413e9, 750.126e9),
    "231M": (413.875e9, 829.211e9),
    "268M": (479.441e9, 960.366e9),
    "302M": (530.982e9, 1063.6e9),
    "336M": (582.523e9, 1166.9e9),
    "472M": (808.683e9, 1618.7e9),
    "551M": (929.481e9, 1860.5e9),
    "571M": (969.276e9, 1940e9),
    "629M": (1.0503e12, 2102.3e9),
    "666M": (1.1154e12, 2232.6e9),
    "761M": (1.2616e12, 2525.2e9),
    "831M": (1.3763e12, 2754.5e9),
    "944M": (1.5502e12, 3102.7e9),
    "1233M": (2.0116e12, 4025.6e9),
    "1476M": (2.402e12, 4806.6e9),
    "1678M": (2.7112e12, 5425.4e9),
    "2121M": (3.4009e12, 6805.4e9),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("head_share", [0.5, 1.0])
def test_published_counts_differ_from_ours_by_known_terms(name: str, head_share: float) -> None:
    """Theirs: 12 d^2 a layer, the head everywhere with a row for the mask, what time conditions, elementwise work; no
    attention. Ours: SwiGLU's third matrix, attention, the head where it is computed.
    """
    macs, flops = PUBLISHED[name]
    ours, tokens = preset(name), 2048
    width, layers = ours.n_embd, ours.n_layer
    conditioning = layers * 6 * width * 128 + 2 * width * 128 + 256 * 128 + 128 * 128  # once a sequence
    products = tokens * (layers * 12 * width**2 + width * 32_001)
    assert products + conditioning == pytest.approx(macs, rel=5e-5)
    elementwise = flops - 2 * macs
    assert 0 < elementwise < 0.006 * flops
    third = 2.0 * tokens * layers * (4 * width**2 + 3 * width * ours.intermediate_size - 12 * width**2)
    attention = 4.0 * tokens**2 * layers * width
    head = 2.0 * tokens * width * (32_001 - head_share * 32_000)
    known = third + attention - head - 2 * conditioning - elementwise
    assert forward_flops(ours, tokens, head_share * tokens) - flops == pytest.approx(known, abs=1e-4 * flops)


def test_the_terms_of_the_170m() -> None:
    ours = preset("170M")
    assert 2 * 2048 * (18 * 12 * 768**2 + 768 * 32_001) == pytest.approx(6.225e11, rel=1e-4)
    assert forward_flops(ours, 2048, 0) - attention_flops(ours, 2048) == pytest.approx(6.958e11, rel=1e-4)
    assert attention_flops(ours, 2048) == pytest.approx(2.319e11, rel=1e-3)
    assert forward_flops(ours, 2048, 2048) - forward_flops(ours, 2048, 0) == pytest.approx(1.007e11, rel=1e-3)
