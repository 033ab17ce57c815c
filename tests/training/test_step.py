"""One step's arithmetic: the same gradient however a batch is cut, and no NaN from a batch without a mask."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.diffusion.objective import Inputs, Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks
from unmask.training.optimizer import build_optimizer, parameter_norm
from unmask.training.recipe_fields import OptimizerFields
from unmask.training.step import Engine

CONFIG = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=12, causal=False)
TOKENS = np.random.default_rng(0).integers(0, 50, (8, 13))


def engine(clip: float = 1.0) -> Engine:
    network = Transformer(CONFIG, seed=3)
    return Engine(
        network,
        Objective(ObjectiveConfig(random_length=0.5)),
        build_optimizer(network, OptimizerFields(lr=1e-2)),
        Ranks(torch.device("cpu")),
        clip=clip,
    )


def test_a_step_in_bf16_takes_products_from_the_weights_as_they_now_are() -> None:
    """The copies follow the optimizer: each step's loss is that of casts at every use."""
    parts, divisor = parts_of([[0, 1, 2, 3], [4, 5, 6, 7]])
    losses: list[list[float]] = []
    for sharded in (False, True):  # shards have no copies
        network = Transformer(CONFIG, seed=3)
        optimizer = build_optimizer(network, OptimizerFields(lr=1e-2))
        autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        objective = Objective(ObjectiveConfig(random_length=0.5))
        made = Engine(network, objective, optimizer, Ranks(torch.device("cpu")), sharded, autocast)
        losses.append([])
        for _ in range(4):
            losses[-1].append(made.forward_backward(parts, divisor).loss)
            made.update(1e-2)
        assert (network.layers[0].mlp.down.copy is None) == sharded
        assert network.layers[0].mlp.down.weight.dtype == torch.float32
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]


def parts_of(cuts: list[list[int]]) -> tuple[list[Inputs], float]:
    objective = Objective(ObjectiveConfig(random_length=0.5))
    parts = [objective.prepare(TOKENS[k], 7, np.array(k), CONFIG.mask_id) for k in cuts]
    return parts, float(sum(part.n_tokens for part in parts))


def gradient(parts: list[Inputs], divisor: float) -> tuple[float, torch.Tensor]:
    made = engine()
    found = made.forward_backward(parts, divisor)
    return found.loss, torch.cat([p.grad.flatten() for p in made.network.parameters() if p.grad is not None])


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)), st.lists(st.integers(1, 7), max_size=4, unique=True))
def test_loss_and_gradient_do_not_depend_on_the_micro_batches(order: list[int], at: list[int]) -> None:
    whole = gradient(*parts_of([list(range(8))]))
    bounds = [0, *sorted(at), 8]
    cut = gradient(*parts_of([list(order[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]))
    assert cut[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(cut[1], whole[1], rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_loss_it_tells() -> None:
    """Clipping and AdamW hide a wrong scale, so it is held against the loss at both sides of the weights."""
    parts, divisor = parts_of([[0, 1, 2], [3, 4, 5], [6, 7]])
    made = engine()
    made.forward_backward(parts, divisor)
    weights = list(made.network.parameters())
    grads = [weight.grad.clone() for weight in weights if weight.grad is not None]
    norm = float(torch.linalg.vector_norm(torch.stack([grad.norm() for grad in grads])))
    losses = []
    for step in (0.01, -0.02):  # along the unit gradient: to one side, then to the other
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight += step / norm * grad
        losses.append(made.forward_backward(parts, divisor).loss)
    assert (losses[0] - losses[1]) / 0.02 == pytest.approx(norm, rel=0.01)


def unmasked(part: Inputs) -> Inputs:
    nothing = torch.zeros(0, dtype=torch.int64)
    return replace(part, targets_N=nothing, positions_N=nothing, rows_N=nothing)


def test_a_micro_batch_without_a_mask_adds_nothing() -> None:
    (first, second), divisor = parts_of([[0, 1, 2, 3], [4, 5, 6, 7]])
    loss, alone = gradient([first], divisor)
    with_empty, summed = gradient([first, unmasked(second)], divisor)
    assert with_empty == loss and torch.equal(alone, summed)


def test_a_batch_without_a_mask_is_a_step_without_nan() -> None:
    made = engine()
    (part,), divisor = parts_of([[0, 1]])
    found = made.forward_backward([unmasked(part)], divisor)
    norm = made.update(1e-2)
    assert found.loss == 0.0 and norm == 0.0 and sum(found.level_count) == 0
    assert math.isfinite(parameter_norm(made.network))


def test_a_fully_masked_batch_is_finite() -> None:
    made = engine()
    (part,), divisor = parts_of([[0, 1]])
    everywhere = torch.arange(24)
    part = replace(
        part,
        tokens_BT=torch.full((2, 12), CONFIG.mask_id or 0),
        targets_N=torch.from_numpy(TOKENS[:2, :12].reshape(-1).copy()),
        positions_N=everywhere,
        rows_N=everywhere // 12,
        key_mask_BT=None,
    )
    found = made.forward_backward([part], divisor)
    assert 0 < found.loss < 100 and math.isfinite(made.update(1e-2))


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    made = engine()
    before = {name: value.clone() for name, value in made.network.state_dict().items()}
    made.forward_backward(*parts_of([[0, 1, 2]]))
    next(made.network.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]
    assert not math.isfinite(made.update(1e-2))
    assert all(torch.equal(before[name], value) for name, value in made.network.state_dict().items())
    assert all(p.grad is None for p in made.network.parameters()) and not made.optimizer.state


def test_clipping_scales_the_gradient_to_the_norm_asked_for() -> None:
    made = engine(clip=0.01)
    made.forward_backward(*parts_of([[0, 1, 2]]))
    grads = [p.grad for p in made.network.parameters() if p.grad is not None]
    raw = torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))
    assert made.update(0.0) == pytest.approx(float(raw), rel=1e-5)
