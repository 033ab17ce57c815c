"""Published SMDM weights give the original code's numbers in our backbone; whatever does not fit is named."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import unmask
from interop.published import differences
from unmask.errors import UserError
from unmask.interop.smdm import convert, export, fuse, unfuse
from unmask.model.config import ModelConfig

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 8, "intermediate_size": 12, "block_size": 16}


def tiny_weights(rows: int, vocab_size: int = 5) -> dict[str, torch.Tensor]:
    """Weights of a one-layer model under the published names."""
    shapes = {
        "lm_head.weight": (vocab_size, 8),
        "transformer.wte.weight": (rows, 8),
        "transformer.ln_f.weight": (8,),
        "transformer.h.0.norm_1.weight": (8,),
        "transformer.h.0.norm_2.weight": (8,),
        "transformer.h.0.attn.attn.weight": (24, 8),
        "transformer.h.0.attn.proj.weight": (8, 8),
        "transformer.h.0.mlp.swiglu.w1.weight": (12, 8),
        "transformer.h.0.mlp.swiglu.w2.weight": (12, 8),
        "transformer.h.0.mlp.swiglu.w3.weight": (8, 12),
    }
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def files(tmp_path):
    """convert(...) on a tiny checkpoint after `change` has altered its weights and its config."""

    def run(change=lambda weights, config: None, rows=6, **options):
        weights, config = tiny_weights(rows), dict(TINY)
        change(weights, config)
        save_file(weights, tmp_path / "weights.safetensors")
        (tmp_path / "dims.json").write_text(json.dumps(config))
        return convert(tmp_path / "weights.safetensors", tmp_path / "dims.json", tmp_path / "out", **options)

    return run


@pytest.mark.parametrize("rope", ["bf16", "fp32"])
@pytest.mark.parametrize("kind, inputs", [("mdm", "noisy"), ("arm", "ids")])
def test_fixture_logits(published, tmp_path, kind, inputs, rope):
    fixture = published
    out = convert(fixture / f"{kind}.safetensors", fixture / "config.json", tmp_path / kind, rope=rope)
    model = unmask.load(out)
    expected = load_file(fixture / "tensors.safetensors")
    with torch.no_grad():
        logits = model.network(expected[inputs])
    assert model.kind == kind
    assert (logits - expected[f"{kind}_logits_{rope}rope"]).abs().max() <= 1e-4
    other = "fp32" if rope == "bf16" else "bf16"
    assert (logits - expected[f"{kind}_logits_{other}rope"]).abs().max() > 1e-4, "the tables make a difference"


def test_fixture_chain_rule(published, tmp_path):
    """NLL of answers of 1, 5 and 13 tokens by the chain rule, with and without unsupervised guidance."""
    fixture = published
    out = convert(fixture / "mdm.safetensors", fixture / "config.json", tmp_path / "mdm", rope="fp32")
    model = unmask.load(out)
    ids = load_file(fixture / "tensors.safetensors")["ids"].tolist()
    expected = json.loads((fixture / "expected.json").read_text())
    cases = next(value for key, value in expected.items() if key.startswith("chain_rule_nll"))
    assert set(cases) == {"0.0", "0.6", "1.1"}
    for guidance, rows in cases.items():
        pairs = [(ids[i][:20], ids[i][20 : 20 + n]) for i, (_, n) in enumerate(rows)]
        scores = unmask.score(model, pairs, method="chain-rule", guidance=float(guidance))
        for score, (nll, _) in zip(scores, rows, strict=True):
            assert score.logprob == pytest.approx(-nll, abs=1e-3)


def test_the_plain_arithmetic_gives_the_original_code_s_numbers(published):
    """What the fixture of our own rests on, held against the folder it wrote and against the handed one."""
    found = differences(published)
    assert {name: difference for name, difference in found.items() if difference > 1e-4} == {}


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_there_and_back_bit_for_bit(published, tmp_path, kind):
    fixture = published
    ours = convert(fixture / f"{kind}.safetensors", fixture / "config.json", tmp_path / "ours")
    back = export(ours, tmp_path / "back.safetensors")
    theirs, again = load_file(fixture / f"{kind}.safetensors"), load_file(back)
    assert theirs.keys() == again.keys() and all(torch.equal(theirs[name], again[name]) for name in theirs)
    dimensions = json.loads((fixture / "config.json").read_text())
    written = json.loads((tmp_path / "back.json").read_text())
    if kind == "arm":
        assert dimensions.pop("mask_id") == dimensions["vocab_size"] and "mask_id" not in written
    assert {name: written[name] for name in dimensions} == dimensions
    once_more = convert(back, tmp_path / "back.json", tmp_path / "once-more")
    assert unmask.load(once_more).config == unmask.load(ours).config
    assert (once_more / "model.safetensors").read_bytes() == (ours / "model.safetensors").read_bytes()


def test_what_the_layout_has_no_place_for(tmp_path):
    from unmask.model.folder import save
    from unmask.model.transformer import Transformer

    shape = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 5, "block_size": 8}
    save(tmp_path / "wide", Transformer(ModelConfig(**shape, head_dim=6), seed=0))
    with pytest.raises(UserError, match="2 heads of 6 are not the width 8"):
        export(tmp_path / "wide", tmp_path / "w.safetensors")
    save(tmp_path / "shifted", Transformer(ModelConfig(**shape, shift=True), seed=0))
    with pytest.raises(UserError, match="shifted has model.shift, which the published layout has no place for"):
        export(tmp_path / "shifted", tmp_path / "w.safetensors")
    save(tmp_path / "tied", Transformer(ModelConfig(**shape, tie_embeddings=True), seed=0))
    with pytest.raises(UserError, match="give a file that ends in .safetensors"):
        export(tmp_path / "tied", tmp_path / "w")
    out = export(tmp_path / "tied", tmp_path / "w.safetensors")
    model = unmask.load(convert(out, tmp_path / "w.json", tmp_path / "again", rope="fp32"))
    ids = torch.arange(6)[None]
    with torch.no_grad():
        assert torch.equal(model.network(ids), unmask.load(tmp_path / "tied").network(ids))


def test_bf16_tables_are_the_default(files):
    model = unmask.load(files())
    assert model.config.rope_table == "bf16" and model.config.block_size == 16
    assert model.tokenizer is None and model.kind == "mdm" and model.mask_id == 5


def test_kind_follows_from_the_embedding(files):
    assert unmask.load(files(rows=5)).kind == "arm"
    with pytest.raises(UserError, match="7 rows and lm_head.weight 5"):
        files(rows=7)


def test_grouped_queries_are_pulled_apart():
    """4 query heads in 2 groups: rows q0 q1 k0 v0 q2 q3 k1 v1 become q0..q3 k0 k1 v0 v1."""
    config = ModelConfig(n_layer=1, n_head=4, n_kv_head=2, n_embd=8, vocab_size=5)
    order = ["q0", "q1", "k0", "v0", "q2", "q3", "k1", "v1"]
    fused = torch.arange(8).repeat_interleave(config.head_dim)[:, None].expand(-1, 8).contiguous()
    rows = unfuse(fused, config)[:: config.head_dim, 0].tolist()
    assert [order[i] for i in rows] == ["q0", "q1", "q2", "q3", "k0", "k1", "v0", "v1"]
    assert torch.equal(fuse(unfuse(fused, config), config), fused)


def test_a_size_instead_of_a_config(files, tmp_path):
    save_file(tiny_weights(6), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="wte.weight has shape .6, 8., the config implies .6, 256."):
        convert(tmp_path / "weights.safetensors", None, tmp_path / "out", size="6M")
    with pytest.raises(UserError, match="did you mean '1028M'"):
        convert(tmp_path / "weights.safetensors", None, tmp_path / "out", size="1028m")
    for both in ({"config_json": "dims.json", "size": "6M"}, {"config_json": None}):
        with pytest.raises(UserError, match="exactly one"):
            convert(tmp_path / "weights.safetensors", out=tmp_path / "out", **both)
    assert not (tmp_path / "out").exists()


def drop(name):
    return lambda weights, config: weights.pop(name, None) is None and config.pop(name)


def put(**fields):
    return lambda weights, config: config.update(fields)


def misshape(name):
    return lambda weights, config: weights.update({name: torch.zeros(3, 8)})


@pytest.mark.parametrize(
    "change, message",
    [
        (drop("lm_head.weight"), "lacks the tensor lm_head.weight"),
        (drop("transformer.h.0.attn.proj.weight"), "lacks the tensor transformer.h.0.attn.proj.weight"),
        (misshape("transformer.h.0.attn.attn.weight"), r"has shape \[3, 8\], the config implies \[24, 8\]"),
        (drop("n_embd"), "dims.json: n_embd is missing"),
        (put(n_layer=2), "lacks the tensor transformer.h.1"),
        (put(n_head=3), "dims.json.*n_embd 8 does not divide by.*n_head 3"),
        (put(padded_vocab_size=9), "the vocabulary is 9, the weights' head has 5 rows"),
        (put(mask_id=0), "mask_id is 0"),
        (put(n_layer="two"), "n_layer is 'two'"),
        (lambda weights, config: weights.update(extra=torch.zeros(1)), "unknown tensor extra"),
    ],
)
def test_what_does_not_fit_is_named(files, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        files(change)
    assert not (tmp_path / "out").exists(), "nothing half-written"


def test_files_that_cannot_be_read(files, tmp_path):
    files()
    weights, config = tmp_path / "weights.safetensors", tmp_path / "dims.json"
    with pytest.raises(UserError, match="absent.safetensors is not a file"):
        convert(tmp_path / "absent.safetensors", config, tmp_path / "other")
    config.write_text("{")
    with pytest.raises(UserError, match="dims.json cannot be read as JSON"):
        convert(weights, config, tmp_path / "other")
    config.write_text("[]")
    with pytest.raises(UserError, match="not a JSON object"):
        convert(weights, config, tmp_path / "other")
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        convert(weights, config, tmp_path / "other")
    with pytest.raises(UserError, match="holds the published weights"):
        convert(weights, config, tmp_path)


def test_a_tokenizer_travels_along(files, tmp_path):
    from unmask.model.tokenizers import Tokenizer

    tokenizer = Tokenizer.plain_bytes()
    tokenizer.save(tmp_path)
    with pytest.raises(UserError, match="257 tokens, the weights only 5"):
        files(tokenizer=tmp_path)

    def widen(weights, config):
        weights["lm_head.weight"] = torch.zeros(257, 8)
        weights["transformer.wte.weight"] = torch.zeros(258, 8)

    model = unmask.load(files(widen, tokenizer=tmp_path))
    assert model.tokenizer is not None and model.tokenizer.hash == tokenizer.hash
    assert model.config.eos_id == tokenizer.eos_id == 0
