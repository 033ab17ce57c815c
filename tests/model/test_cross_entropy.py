"""The chunked cross-entropy of the head: values and gradients of the plain one, whatever the chunks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unmask.model import cross_entropy
from unmask.model.cross_entropy import weighted_cross_entropy

N, E, V = 23, 8, 37


def material(n: int = N) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    hidden_NE = torch.randn(n, E, generator=draw, requires_grad=True)
    weight_VE = torch.randn(V, E, generator=draw, requires_grad=True)
    return hidden_NE, weight_VE, torch.randint(V, (n,), generator=draw), torch.rand(n, generator=draw)


def gradients(total: torch.Tensor, *leaves: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(total, leaves))


@pytest.mark.parametrize("elements", [1, 5 * V, N * V, 1 << 20])
@pytest.mark.parametrize("factor", [1.0, -2.5])
def test_values_and_gradients_are_those_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, elements: int, factor: float
) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_CPU", elements)
    hidden_NE, weight_VE, targets_N, weights_N = material()
    plain_N = F.cross_entropy(hidden_NE @ weight_VE.T, targets_N, reduction="none")
    wanted = gradients(factor * (plain_N * weights_N).sum(), hidden_NE, weight_VE)
    total, ce_N = weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)
    assert not ce_N.requires_grad
    torch.testing.assert_close(ce_N, plain_N.detach())
    torch.testing.assert_close(total, (plain_N * weights_N).sum())
    torch.testing.assert_close(gradients(factor * total, hidden_NE, weight_VE), wanted)
    with torch.no_grad():
        torch.testing.assert_close(weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)[1], ce_N)


def test_gradients_agree_with_finite_differences() -> None:
    hidden_NE, weight_VE, targets_N, weights_N = (x.double() if x.is_floating_point() else x for x in material(4))
    hidden_NE, weight_VE = hidden_NE.detach().requires_grad_(), weight_VE.detach().requires_grad_()

    def total(hidden: torch.Tensor, weight: torch.Tensor) -> float:
        plain_N = F.cross_entropy(hidden @ weight.T, targets_N, reduction="none")
        return float((plain_N * weights_N).sum())

    for leaf in (hidden_NE, weight_VE):
        (got,) = gradients(weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)[0], leaf)
        with torch.no_grad():
            before = leaf[1, 2].item()
            leaf[1, 2] = before + 1e-3
            up = total(hidden_NE, weight_VE)
            leaf[1, 2] = before - 1e-3
            down = total(hidden_NE, weight_VE)
            leaf[1, 2] = before
        assert float(got[1, 2]) == pytest.approx((up - down) / 2e-3, rel=1e-3, abs=1e-5)


def test_no_rows_give_zero_and_zero_gradients() -> None:
    hidden_NE, weight_VE, targets_N, weights_N = material(0)
    total, ce_N = weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)
    assert total.item() == 0.0 and ce_N.shape == (0,)
    grad_hidden, grad_weight = gradients(total, hidden_NE, weight_VE)
    assert grad_hidden.shape == (0, E) and not grad_weight.any()


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_side_gets_no_gradient(frozen: int) -> None:
    leaves = material()
    leaves[frozen].requires_grad_(False)
    weighted_cross_entropy(*leaves)[0].backward()
    assert leaves[frozen].grad is None and leaves[1 - frozen].grad is not None


def test_gradients_are_handed_over_once() -> None:
    hidden_NE, *others = material()
    total, _ = weighted_cross_entropy(hidden_NE, *others)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        total.backward()


def test_autocast_computes_in_its_type_and_returns_the_parameters_own() -> None:
    hidden_NE, weight_VE, targets_N, weights_N = material()
    plain_N = F.cross_entropy(hidden_NE @ weight_VE.T, targets_N, reduction="none")
    wanted = gradients((plain_N * weights_N).sum(), hidden_NE, weight_VE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, ce_N = weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)
    got = gradients(total, hidden_NE, weight_VE)
    assert ce_N.dtype == torch.float32 and [g.dtype for g in got] == [torch.float32] * 2
    torch.testing.assert_close(ce_N, plain_N.detach(), atol=0.1, rtol=0.02)
    torch.testing.assert_close(got, wanted, atol=0.05, rtol=0.05)


def test_tokens_and_logits_never_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_CPU", 4 * V)
    sizes: list[int] = []
    plain = torch.log_softmax

    def counted(logits: torch.Tensor, *rest: int, **out: torch.Tensor) -> torch.Tensor:
        sizes.append(logits.numel())
        return plain(logits, *rest, **out)

    monkeypatch.setattr(torch, "log_softmax", counted)
    total, _ = weighted_cross_entropy(*material())
    total.backward()
    assert len(sizes) == 6 and max(sizes) == 4 * V


@pytest.mark.parametrize("columns, kept", [(5, V), (16, 7 * V), (64, 1 << 20)])
@pytest.mark.parametrize("n", [0, 1, N])
def test_bf16_on_a_cpu_goes_over_columns(monkeypatch: pytest.MonkeyPatch, columns: int, kept: int, n: int) -> None:
    monkeypatch.setattr(cross_entropy, "COLUMNS", columns)
    monkeypatch.setattr(cross_entropy, "KEPT_CPU", kept)
    hidden_NE, weight_VE, targets_N, weights_N = material(n)
    rounded = [x.detach().bfloat16().float().requires_grad_() for x in (hidden_NE, weight_VE)]
    plain_N = F.cross_entropy(rounded[0] @ rounded[1].T, targets_N, reduction="none")
    wanted = gradients(3 * (plain_N * weights_N).sum(), *rounded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, ce_N = weighted_cross_entropy(hidden_NE, weight_VE, targets_N, weights_N)
    got = gradients(3 * total, hidden_NE, weight_VE)
    torch.testing.assert_close(ce_N, plain_N.detach(), atol=0.02, rtol=0.005)
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.dtype == torch.float32 and mine.shape == theirs.shape
        assert float((mine - theirs).norm()) <= 0.003 * float(theirs.norm())


@pytest.mark.parametrize("frozen", [0, 1])
def test_bf16_with_a_frozen_side(frozen: int) -> None:
    leaves = material()
    leaves[frozen].requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = weighted_cross_entropy(*leaves)
    total.backward()
    assert leaves[frozen].grad is None and leaves[1 - frozen].grad is not None
