"""Schedules as functions of the step, the paper's warm-up, averaged weights."""

from __future__ import annotations

import pytest
import torch

from unmask.training.optimizer import build_optimizer, gradient_norm, learning_rate, resolved_warmup, update_average
from unmask.training.recipe_fields import OptimizerFields


def rates(steps: int, **fields: object) -> list[float]:
    made = OptimizerFields(lr=1.0, **fields)  # type: ignore[arg-type]
    return [learning_rate(step, steps, made) for step in range(steps)]


def test_cosine_rises_from_zero_and_falls_to_a_tenth() -> None:
    found = rates(20000, final=0.1)
    assert found[0] == pytest.approx(1 / 201) and max(found) == found[200] == 1.0
    assert found[10100] == pytest.approx(0.55, abs=1e-3)
    assert found[-1] == pytest.approx(0.1, abs=1e-4)


def test_constant_and_wsd() -> None:
    assert set(rates(1000, schedule="constant", warmup=10)[10:]) == {1.0}
    found = rates(1000, schedule="wsd", warmup=10, decay_share=0.2, final=0.0)
    assert found[799] == 1.0 and found[900] == pytest.approx(0.5) and found[999] == pytest.approx(0.005)


def test_warmup_is_the_papers_and_short_runs_are_spared() -> None:
    fields = OptimizerFields()
    assert [resolved_warmup(n, fields) for n in (18710, 112828, 5000, 300)] == [187, 1128, 100, 30]
    assert resolved_warmup(300, OptimizerFields(warmup=7)) == 7


def test_clipping_returns_the_norm_before_it() -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    assert gradient_norm(layer.parameters(), 1.0) == pytest.approx(5.0)
    assert layer.weight.grad.norm() == pytest.approx(1.0, rel=1e-4)
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    assert gradient_norm(layer.parameters(), 0.0) == pytest.approx(5.0)
    assert layer.weight.grad.norm() == pytest.approx(5.0)


def test_weight_decay_reaches_every_parameter() -> None:
    layer = torch.nn.LayerNorm(4)
    assert [group["weight_decay"] for group in build_optimizer(layer, OptimizerFields()).param_groups] == [0.1]


def test_updates_are_pytorchs_to_the_last_bit() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(7, 5), torch.nn.Linear(7, 5)
    theirs.load_state_dict(ours.state_dict())
    fields = OptimizerFields(lr=1e-2)
    plain = torch.optim.AdamW(
        theirs.parameters(), fields.lr, (fields.beta1, fields.beta2), fields.eps, fields.weight_decay, fused=True
    )
    made = build_optimizer(ours, fields)
    assert set(made.defaults) == set(plain.defaults) and made.state_dict().keys() == plain.state_dict().keys()
    for _ in range(5):
        x = torch.randn(3, 7)
        for layer, optimizer in ((ours, made), (theirs, plain)):
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(ours.state_dict()[name], theirs.state_dict()[name]) for name in ours.state_dict())
    assert made.param_groups[0]["params"][0].grad is not None
    made.zero_grad()
    assert ours.weight.grad is None and torch.is_grad_enabled()


def test_average_follows_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = {"weight": torch.zeros(1, 1)}
    with torch.no_grad():
        layer.weight.fill_(1.0)
    for step in range(200):
        update_average(average, layer, 0.9, step)
    assert float(average["weight"]) == pytest.approx(1.0, abs=1e-6)


def test_average_remembers_by_its_decay_once_warm() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = {"weight": torch.zeros(1, 1)}
    kept = []
    with torch.no_grad():
        for step in (0, 8, 10_000):
            layer.weight.fill_(1.0)
            average["weight"].fill_(0.0)
            update_average(average, layer, 0.9, step)
            kept.append(1 - float(average["weight"]))
    assert kept == pytest.approx([0.1, 0.5, 0.9])
