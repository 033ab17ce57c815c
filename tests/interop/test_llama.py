"""Llama-layout models through our backbone and back, against transformers' own LlamaForCausalLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import unmask
from unmask.errors import UserError
from unmask.interop.llama import export_llama, import_llama
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

IDS = torch.randint(0, 60, (2, 11), generator=torch.Generator().manual_seed(0))


def published(folder: Path, **fields: Any) -> Any:
    """A random LlamaForCausalLM of transformers, saved by itself."""
    transformers = pytest.importorskip("transformers")
    shape = {
        "vocab_size": 60,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "eos_token_id": 2,
    }
    torch.manual_seed(1)
    rope = {"rope_type": "default", "rope_theta": fields.pop("rope_theta", 10000.0)}
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, rope_parameters=rope, **fields)).eval()
    theirs.save_pretrained(folder, max_shard_size=fields.pop("max_shard_size", "5GB"))
    return theirs


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_key_value_heads": 2, "rope_theta": 100000.0, "rms_norm_eps": 1e-5},
        {"tie_word_embeddings": True, "num_key_value_heads": 1},
        {"head_dim": 16},
    ],
    ids=["plain", "grouped", "tied", "wide heads"],
)
def test_logits_are_those_of_transformers_both_ways(tmp_path: Path, fields: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = published(tmp_path / "theirs", **fields)
    model = unmask.load(import_llama(tmp_path / "theirs", tmp_path / "ours"))
    assert model.kind == "arm" and model.config.eos_id == 2
    back = transformers.LlamaForCausalLM.from_pretrained(export_llama(tmp_path / "ours", tmp_path / "back")).eval()
    with torch.no_grad():
        expected = theirs(IDS).logits
        assert (model.network(IDS) - expected).abs().max() < 1e-4
        assert torch.equal(back(IDS).logits, expected)
    assert expected.std() > 0.5, "weights that make a difference"
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_several_files_of_half_precision(tmp_path: Path) -> None:
    theirs = published(tmp_path / "theirs").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path / "parts", max_shard_size="10KB")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "parts", dtype=torch.float32).eval()
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    model = unmask.load(import_llama(tmp_path / "parts", tmp_path / "ours"))
    with torch.no_grad():
        assert (model.network(IDS) - theirs(IDS).logits).abs().max() < 1e-4


def test_our_arm_with_its_tokenizer_in_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.plain_bytes()
    config = ModelConfig(
        n_layer=2, n_head=2, n_embd=16, vocab_size=257, block_size=32, causal=True, rope_base=100.0, eos_id=0
    )
    save(tmp_path / "ours", Transformer(config, seed=0), tokenizer)
    folder = export_llama(tmp_path / "ours", tmp_path / "theirs")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = transformers.AutoTokenizer.from_pretrained(folder)("we the people", return_tensors="pt").input_ids
    assert ids[0].tolist() == tokenizer.encode("we the people") and theirs.config.eos_token_id == 0
    with torch.no_grad():
        assert (unmask.load(tmp_path / "ours").network(ids) - theirs(ids).logits).abs().max() < 1e-5
    back = unmask.load(import_llama(folder, tmp_path / "again"))
    assert back.config == config and back.tokenizer is not None and back.tokenizer.hash == tokenizer.hash


def test_a_marked_end_of_sequence_goes_out_by_the_side_file_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    Tokenizer.train_bpe(260, ["some text"]).save(tmp_path / "t")
    (tmp_path / "t" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "a"}))
    tokenizer = Tokenizer.from_file(tmp_path / "t")
    assert tokenizer.token_text(tokenizer.eos_id or 0) == "a" and '"eos"' in tokenizer.to_json()
    shape: dict[str, Any] = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8, "causal": True}
    config = ModelConfig(**shape, vocab_size=tokenizer.vocab_size, eos_id=tokenizer.eos_id)
    save(tmp_path / "ours", Transformer(config, seed=0), tokenizer)
    folder = export_llama(tmp_path / "ours", tmp_path / "theirs")
    assert '"eos"' not in (folder / "tokenizer.json").read_text()
    back = unmask.load(import_llama(folder, tmp_path / "back"))
    assert back.tokenizer is not None and back.tokenizer.eos_id == tokenizer.eos_id == back.config.eos_id
    assert back.tokenizer.hash == tokenizer.hash


def edit(**fields: Any):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **fields}))

    return change


def drop(name: str):
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        del weights[name]
        save_file(weights, folder / "model.safetensors")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit(model_type="gpt2"), "config.json: model_type is 'gpt2'; only 'llama'"),
        (edit(attention_bias=True), "attention_bias is True; the backbone has False only"),
        (edit(rope_parameters={"rope_type": "llama3", "rope_theta": 1e4}), "rotary embedding of type 'llama3'"),
        (edit(rope_scaling={"type": "linear", "factor": 2}), "rotary embedding of type 'linear'"),
        (edit(hidden_size=None), "hidden_size is missing"),
        (edit(intermediate_size=40), r"mlp.gate_proj.weight has shape \[48, 32\], the config implies \[40, 32\]"),
        (edit(num_hidden_layers=1), "unknown tensor model.layers.1"),
        (edit(num_attention_heads=3), "n_head 3 does not divide by model.n_kv_head 4"),
        (drop("model.norm.weight"), "lacks the tensor model.norm.weight"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has neither model.safetensors nor"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 20), "cannot be read as safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read as JSON"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, message: str) -> None:
    published(tmp_path / "theirs", head_dim=None)
    change(tmp_path / "theirs")
    with pytest.raises(UserError, match=message):
        import_llama(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists(), "nothing half-written"


def test_what_llama_has_no_place_for(tmp_path: Path) -> None:
    shape: dict[str, Any] = {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 9, "block_size": 8}
    save(tmp_path / "mdm", Transformer(ModelConfig(**shape), seed=0))
    with pytest.raises(UserError, match="is a masked diffusion model; LlamaForCausalLM is causal"):
        export_llama(tmp_path / "mdm", tmp_path / "out")
    save(tmp_path / "normed", Transformer(ModelConfig(**shape, causal=True, qk_norm=True), seed=0))
    with pytest.raises(UserError, match="normed has model.qk_norm, which Llama's layout has no place for"):
        export_llama(tmp_path / "normed", tmp_path / "out")
    save(tmp_path / "arm", Transformer(ModelConfig(**shape, causal=True, rope_table="bf16"), seed=0))
    with pytest.warns(UserWarning, match="rotary tables are rounded to bf16"):
        export_llama(tmp_path / "arm", tmp_path / "out")
    with pytest.raises(UserError, match="holds the published model itself"):
        import_llama(tmp_path / "out", tmp_path / "out")


def test_weights_of_a_compiled_model_lose_its_prefix(tmp_path: Path) -> None:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=60, block_size=16, causal=True)
    save(tmp_path / "arm", Transformer(config, seed=0))
    weights = export_llama(tmp_path / "arm", tmp_path / "theirs") / "model.safetensors"
    save_file({f"_orig_mod.{name}": tensor for name, tensor in load_file(weights).items()}, weights)
    after = unmask.load(import_llama(tmp_path / "theirs", tmp_path / "back")).network.state_dict()
    before = unmask.load(tmp_path / "arm").network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
