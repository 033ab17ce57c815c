"""The Transformer's variations on the logits of published layouts: Dream, dllm's Qwen3, SDAR.

Tiny random weights and what the original code computed with them lie in ../shared/fixtures; without them these tests
are skipped, and `test_backbone.py` has tiny models of our own. Reading such folders is the business of `interop`: here
is only the key map that the comparison needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.model.visibility import block_causal, keys, pairs

CLOSE = {"atol": 1e-4, "rtol": 1e-4}  # the originals' tolerance


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def published(folder: Path, **fields: Any) -> tuple[Transformer, dict[str, torch.Tensor]]:
    """The network of a fixture in a Llama-like layout, and what was computed with it."""
    told = json.loads((folder / "config.json").read_text())
    config = ModelConfig(
        n_layer=told["num_hidden_layers"],
        n_head=told["num_attention_heads"],
        n_kv_head=told["num_key_value_heads"],
        n_embd=told["hidden_size"],
        head_dim=told.get("head_dim", 0),
        intermediate_size=told["intermediate_size"],
        vocab_size=told["vocab_size"],
        block_size=told["max_position_embeddings"],
        norm_eps=told["rms_norm_eps"],
        rope_base=float(told["rope_theta"]),
        tie_embeddings=told["tie_word_embeddings"],
        **fields,
    )
    theirs = {name: t.float() for path in folder.glob("model*.safetensors") for name, t in load_file(path).items()}
    ours = {"embedding.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs["model.norm.weight"]}
    if not config.tie_embeddings:
        ours["output.weight"] = theirs["lm_head.weight"]
    for layer in range(config.n_layer):
        mine, own = f"layers.{layer}.", f"model.layers.{layer}."
        attention, mlp = f"{own}self_attn.", f"{own}mlp."
        for kind in ["weight", *(["bias"] if config.qkv_bias else [])]:
            parts = [theirs[f"{attention}{name}_proj.{kind}"] for name in "qkv"]
            ours[f"{mine}attention.qkv.{kind}"] = torch.cat(parts)
        if config.qk_norm:
            for name in ("q_norm", "k_norm"):
                ours[f"{mine}attention.{name}.weight"] = theirs[f"{attention}{name}.weight"]
        ours |= {
            f"{mine}attention_norm.weight": theirs[f"{own}input_layernorm.weight"],
            f"{mine}attention.out.weight": theirs[f"{attention}o_proj.weight"],
            f"{mine}mlp_norm.weight": theirs[f"{own}post_attention_layernorm.weight"],
            f"{mine}mlp.gate_up.weight": torch.cat([theirs[f"{mlp}{name}_proj.weight"] for name in ("gate", "up")]),
            f"{mine}mlp.down.weight": theirs[f"{mlp}down_proj.weight"],
        }
    network = Transformer(config)
    network.load_state_dict(ours)
    return network.eval(), load_file(folder / "expected.safetensors")


@pytest.fixture(scope="module")
def dream(shared: Path) -> tuple[Transformer, dict[str, torch.Tensor]]:
    return published(shared / "fixtures" / "dream", qkv_bias=True, shift=True, mask=312)


@pytest.fixture(scope="module")
def qwen(shared: Path) -> tuple[Transformer, dict[str, torch.Tensor]]:
    return published(shared / "fixtures" / "dllm-qwen3", qk_norm=True, mask=309)


@pytest.fixture(scope="module")
def sdar(shared: Path) -> tuple[Transformer, dict[str, torch.Tensor]]:
    return published(shared / "fixtures" / "sdar", qk_norm=True, mask=309)


def test_dream_predicts_from_the_position_before(dream: Any) -> None:
    network, expected = dream
    torch.testing.assert_close(network(expected["noisy"]), expected["shifted_logits_noisy"], **CLOSE)
    for name in ("ids", "noisy"):
        unshifted_BTV = expected[f"logits_{name}"]
        found_BTV = network(expected[name])
        torch.testing.assert_close(found_BTV[:, 1:], unshifted_BTV[:, :-1], **CLOSE)
        torch.testing.assert_close(found_BTV[:, 0], unshifted_BTV[:, 0], **CLOSE)
    at = (expected["noisy"] == network.config.mask_id).nonzero(as_tuple=True)
    found_NV = network.head(network.hidden(expected["noisy"], at=at))
    torch.testing.assert_close(found_NV, expected["shifted_logits_noisy"][at], **CLOSE)


def test_dream_padded_on_the_left(dream: Any) -> None:
    network, expected = dream
    inside_BT = expected["padded_attention_mask"].bool()
    assert not inside_BT.all()
    hidden = network.hidden(expected["padded"], positions_BT=expected["padded_position_ids"], sees=keys(inside_BT))
    row_N, place_N = (inside_BT[:, 1:] & inside_BT[:, :-1]).nonzero(as_tuple=True)
    found_NV = network.head(hidden[row_N, place_N + 1])
    torch.testing.assert_close(found_NV, expected["logits_padded"][row_N, place_N], **CLOSE)


def test_qwen_norms_queries_and_keys(qwen: Any) -> None:
    network, expected = qwen
    for name in ("ids", "noisy"):
        torch.testing.assert_close(network(expected[name]), expected[f"logits_{name}"], **CLOSE)
    inside_BT = expected["padded_attention_mask"].bool()
    found_BTV = network(expected["padded"], sees=keys(inside_BT))
    torch.testing.assert_close(found_BTV[inside_BT], expected["logits_padded"][inside_BT], **CLOSE)


def test_qwen_in_blocks(qwen: Any, shared: Path) -> None:
    """The table of who sees whom is block-causal attention less padding; positions count what is no padding."""
    network, expected = qwen
    table_TS = expected["block_mask"]
    inside_BT = table_TS.any(0)[None]
    block = next(size for size in (4, 8, 16, 32) if (inside_BT & blocks(size, 24) & inside_BT.T).equal(table_TS))
    tokens_BT, positions_BT = expected["block_ids"], expected["block_positions"]
    for sees in (pairs(table_TS), block_causal(block) & keys(inside_BT)):
        found_BTV = network(tokens_BT, positions_BT=positions_BT, sees=sees)
        torch.testing.assert_close(found_BTV[inside_BT], expected["block_logits"][inside_BT], **CLOSE)


def blocks(size: int, length: int) -> torch.Tensor:
    block_T = torch.arange(length) // size
    return block_T <= block_T[:, None]


def test_qwen_as_it_was_trained_in_blocks(qwen: Any) -> None:
    """Noisy and clean side by side, at the same positions, each noisy block seeing the clean ones before it."""
    network, expected = qwen
    half = expected["train_ids"].shape[1] // 2
    positions_BT = torch.arange(half).repeat(2).expand(len(expected["train_ids"]), -1)
    found_BTV = network(expected["train_ids"], positions_BT=positions_BT, sees=pairs(expected["train_mask"]))
    torch.testing.assert_close(found_BTV[:, :half], expected["train_logits"], **CLOSE)


def test_sdar_sees_its_block_and_those_before(sdar: Any) -> None:
    network, expected = sdar
    for name in ("ids", "noisy"):
        found_BTV = network(expected[name], sees=block_causal(4))
        torch.testing.assert_close(found_BTV, expected[f"block_logits_{name}"], **CLOSE)
    # Block after block over a cache.
    tokens_BT = expected["noisy"]
    cache, rows = network.cache(*tokens_BT.shape), torch.arange(len(tokens_BT))
    for begin in range(0, tokens_BT.shape[1], 4):
        places = torch.arange(begin, begin + 4)
        found_BTE = network.hidden(
            tokens_BT[:, places], positions_BT=places.expand(len(rows), -1), sees=block_causal(4), cache=cache.at(rows)
        )
        torch.testing.assert_close(network.head(found_BTE), expected["block_logits_noisy"][:, places], **CLOSE)
