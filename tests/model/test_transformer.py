"""The backbone against a slow one written from the formulas, and what masks, caches and halves promise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.shapes import SIZES, T, V, make, tokens
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer, rope_tables
from unmask.model.visibility import keys


def by_hand(network: Transformer, ids: list[int]) -> torch.Tensor:
    """Logits [T, V] of one sequence in float64, position by position, head by head."""
    config = network.config
    w = {name: value.double() for name, value in network.state_dict().items()}

    def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt((x * x).mean() + config.norm_eps) * weight

    def head_norm(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        return x if weight is None else norm(x, weight)

    def turn(x: torch.Tensor, position: int) -> torch.Tensor:
        half = config.head_dim // 2
        out = torch.empty_like(x)
        for i in range(half):
            angle = position * config.rope_base ** (-2 * i / config.head_dim)
            c, s = math.cos(angle), math.sin(angle)
            out[i], out[i + half] = x[i] * c - x[i + half] * s, x[i + half] * c + x[i] * s
        return out

    heads, kv_heads, size = config.n_head, config.n_kv_head, config.head_dim
    xs = [w["embedding.weight"][token] for token in ids]
    for layer in range(config.n_layer):
        own = {name.removeprefix(f"layers.{layer}."): value for name, value in w.items()}
        normed = [norm(x, own["attention_norm.weight"]) for x in xs]
        bias = own.get("attention.qkv.bias", torch.zeros(1).double())
        qkv = [(own["attention.qkv.weight"] @ x + bias).view(-1, size) for x in normed]
        q_norm, k_norm = (own.get(f"attention.{name}_norm.weight") for name in "qk")
        q = [[turn(head_norm(row[h], q_norm), t) for h in range(heads)] for t, row in enumerate(qkv)]
        k = [[turn(head_norm(row[heads + h], k_norm), t) for h in range(kv_heads)] for t, row in enumerate(qkv)]
        v = [[row[heads + kv_heads + h] for h in range(kv_heads)] for row in qkv]
        mixed = []
        for t in range(len(ids)):
            seen = range(t + 1) if config.causal else range(len(ids))
            outs = []
            for h in range(heads):
                g = h // (heads // kv_heads)
                weights = torch.softmax(torch.stack([q[t][h] @ k[s][g] for s in seen]) / math.sqrt(size), 0)
                outs.append(sum(p * v[s][g] for p, s in zip(weights, seen, strict=True)))
            mixed.append(own["attention.out.weight"] @ torch.cat(outs))
        xs = [x + m for x, m in zip(xs, mixed, strict=True)]
        ff = []
        for x in xs:
            gate, up = (own["mlp.gate_up.weight"] @ norm(x, own["mlp_norm.weight"])).chunk(2)
            ff.append(own["mlp.down.weight"] @ (gate / (1 + torch.exp(-gate)) * up))
        xs = [x + f for x, f in zip(xs, ff, strict=True)]
    head = w["embedding.weight"][: config.vocab_size] if config.tie_embeddings else w["output.weight"]
    return torch.stack([head @ norm(x, w["norm.weight"]) for x in xs])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"causal": True},
        {"n_kv_head": 2},
        {"n_kv_head": 1, "causal": True},
        {"tie_embeddings": True},
        {"head_dim": 6, "intermediate_size": 20, "rope_base": 50.0, "norm_eps": 1e-3},
        {"qkv_bias": True, "n_kv_head": 2},
        {"qk_norm": True, "n_kv_head": 2, "head_dim": 6},
        {"qkv_bias": True, "qk_norm": True, "causal": True},
    ],
    ids=str,
)
def test_logits_are_those_of_the_formulas(fields: dict[str, Any]) -> None:
    network = make(**fields)
    ids_BT = tokens(rows=network.config.embedding_rows)
    with torch.no_grad():
        logits_BTV = network(ids_BT)
    assert logits_BTV.shape == (2, T, V) and logits_BTV.dtype == torch.float32
    for row in range(2):
        torch.testing.assert_close(
            logits_BTV[row].double(), by_hand(network, ids_BT[row].tolist()), atol=1e-4, rtol=1e-4
        )


@given(st.integers(0, T - 1), st.integers(0, V - 1))
def test_a_causal_model_does_not_look_ahead_and_a_bidirectional_one_does(position: int, token: int) -> None:
    ids_BT = tokens(1)
    changed_BT = ids_BT.clone()
    changed_BT[0, position] = (ids_BT[0, position] + 1 + token % (V - 1)) % V
    for causal in (True, False):
        network = make(causal=causal)
        with torch.no_grad():
            differ_T = (network(ids_BT) - network(changed_BT))[0].abs().amax(-1) > 1e-6
        assert differ_T[position:].any()
        assert bool(differ_T[:position].any()) is (not causal and position > 0)


@pytest.mark.parametrize("fields", [{}, {"causal": True}, {"n_layer": 1, "n_kv_head": 2}])
def test_chosen_positions_are_those_of_all(fields: dict[str, Any]) -> None:
    network, where = make(**fields), torch.tensor([0, 3, 3, T, 2 * T - 1])
    at_N = network.hidden(tokens(), at=network.config.alignment.at(where, T))
    torch.testing.assert_close(at_N, network.hidden(tokens()).flatten(0, 1)[where])
    assert network.hidden(tokens(), at=network.config.alignment.at(where[:0], T)).shape == (0, network.config.n_embd)


def test_the_last_layer_runs_only_where_it_is_asked() -> None:
    network, seen = make(), []
    for layer in network.layers:
        layer.mlp.register_forward_hook(lambda module, args, out: seen.append(args[0].numel() // out.shape[-1]))
    network.hidden(tokens(), at=network.config.alignment.at(torch.tensor([4, 7]), T))
    assert seen == [2 * T] * (len(network.layers) - 1) + [2]


@pytest.mark.parametrize("at_N", [None, torch.tensor([1, 5])])
def test_recomputing_gives_the_same_gradients_and_keeps_less(at_N: torch.Tensor | None) -> None:
    found, kept = [], []
    for recompute in (False, True):
        network = make()
        network.recompute = recompute
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=saved: (s.append(t.numel()), t)[1], lambda t: t):
            hidden = network.hidden(tokens(), at=None if at_N is None else network.config.alignment.at(at_N, T))
        hidden.square().sum().backward()
        found.append([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
        kept.append(sum(saved))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert kept[1] < kept[0] / 3


def test_the_head_apart_gives_the_same() -> None:
    network = make()
    hidden_BTE = network.hidden(tokens())
    torch.testing.assert_close(network.head(hidden_BTE[:, 3]), network(tokens())[:, 3])


@pytest.mark.parametrize("causal", [False, True])
def test_padding_behind_a_key_mask_changes_nothing(causal: bool) -> None:
    network = make(causal=causal)
    short, long = tokens(1, 5), tokens(1, T)
    padded_BT = long.clone()
    padded_BT[:, :5] = short
    mask_BT = torch.arange(T)[None] < 5
    with torch.no_grad():
        found = network(padded_BT, sees=network.sees & keys(mask_BT))[:, :5]
        torch.testing.assert_close(found, network(short), atol=1e-5, rtol=1e-5)


def test_only_differences_of_positions_matter() -> None:
    """Rotary embedding: the same tokens further to the right attend to each other alike."""
    network = make()
    positions_BT = torch.arange(T)[None].expand(2, T)
    with torch.no_grad():
        here = network.hidden(tokens(), positions_BT=positions_BT)
        there = network.hidden(tokens(), positions_BT=positions_BT + 13)
        apart = network.hidden(tokens(), positions_BT=positions_BT * 2)
    torch.testing.assert_close(here, network.hidden(tokens()))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
    assert (here - apart).abs().max() > 1e-3


def test_initialisation_is_the_papers() -> None:
    config = ModelConfig(n_layer=3, n_head=4, n_embd=256, vocab_size=1000)
    network = Transformer(config, seed=0)
    for name, weight in network.named_parameters():
        if weight.ndim == 1:
            assert (weight == 1).all(), name
            continue
        back = name.endswith(("attention.out.weight", "mlp.down.weight"))
        std = 1 / (math.sqrt(256) * 3) if back else math.sqrt(2 / (5 * 256))
        assert weight.std().item() == pytest.approx(std, rel=0.02), name
        assert abs(weight.mean().item()) < 0.02 * std * 3, name


def test_a_seed_is_a_model() -> None:
    a, b, c = (Transformer(ModelConfig(**SIZES), seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])


def test_rope_tables_are_rounded_where_the_config_says() -> None:
    exact = rope_tables(ModelConfig(**SIZES))
    rounded = rope_tables(ModelConfig(**SIZES, rope_table="bf16"))
    for fine, coarse in zip(exact, rounded, strict=True):
        assert fine.dtype == coarse.dtype == torch.float32
        assert torch.equal(coarse, fine.bfloat16().float()) and not torch.equal(coarse, fine)
