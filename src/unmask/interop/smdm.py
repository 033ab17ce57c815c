"""Published SMDM checkpoints (arXiv 2410.18514) to a model folder, and back.

    unmask convert smdm mdm.safetensors --config config.json --out models/mdm
    unmask convert smdm models/mdm --export --out mdm.safetensors          # and mdm.json, its dimensions
    convert("mdm-1028M.safetensors", None, "models/mdm", size="1028M", tokenizer="llama-2/")
    export("models/mdm", "mdm.safetensors")

Their layout is lit-gpt's: query, key and value stand together per group of heads in one fused matrix, so it is viewed
as (groups, heads per group + 2, head dimension, width) and pulled apart into [all q; all k; all v]; the SwiGLU's w1 is
the gate, w2 the up and w3 the down projection. An embedding with one row more than the head (the mask) means a masked
diffusion model, an equal count an autoregressive one. They were trained with rotary tables rounded to bf16.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from unmask.errors import UserError
from unmask.files import beside, reading, write_tensors, write_whole
from unmask.interop.begin import begin_token
from unmask.interop.files import read_object
from unmask.interop.layout import Layout, apart, stacked
from unmask.model.config import ModelConfig
from unmask.model.folder import load, save, unwrapped
from unmask.model.presets import preset
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

EMBEDDING, HEAD, NORM = "transformer.wte.weight", "lm_head.weight", "transformer.ln_f.weight"
FUSED = "attention.qkv.weight"
REQUIRED = ("n_layer", "n_head", "n_embd")
# Their field: (ours, the value where theirs is absent; None: ours' own default)
OPTIONAL = {
    "n_query_groups": ("n_kv_head", None),
    "intermediate_size": ("intermediate_size", None),
    "block_size": ("block_size", 2048),
    "norm_eps": ("norm_eps", None),
    "rope_base": ("rope_base", None),
    "eos_id": ("eos_id", None),
    "eos_ids": ("eos_ids", None),
    "bos": ("bos", None),
}


def convert(
    weights: str | Path,
    config_json: str | Path | None,
    out: str | Path,
    rope: str = "bf16",
    tokenizer: str | Path | None = None,
    size: str | None = None,
) -> Path:
    """Writes `out`, a model folder, from published weights and their dimensions; returns its path.

    The dimensions come from `config_json` or from `size`, one of the paper's 30. `rope` chooses the rotary tables,
    ``bf16`` as the models were trained or ``fp32``. Without a `tokenizer` (a folder or a tokenizer.json) the model
    takes token ids only. Raises `UserError` for missing or misshapen tensors and missing fields.
    """
    weights = Path(weights)
    if (config_json is None) == (size is None):
        raise UserError("give exactly one of the config JSON and a size such as 170M: the dimensions of the weights")
    if Path(out).resolve() == weights.resolve().parent:
        raise UserError(f"{out} holds the published weights themselves; give another folder for the result")
    published = read_published(weights)
    vocab_size, causal = vocabulary(published, weights)
    fields: dict[str, Any] = {"vocab_size": vocab_size, "causal": causal, "rope_table": rope}
    inner = None if tokenizer is None else Tokenizer.from_file(tokenizer)
    if inner is not None:
        if inner.vocab_size > vocab_size:
            raise UserError(f"{tokenizer} has {inner.vocab_size} tokens, the weights only {vocab_size}; give their own")
        fields |= {"eos_id": inner.eos_id, "bos": begin_token(tokenizer or "", inner)}
    if size is not None:
        config = preset(size, **fields)
    else:
        assert config_json is not None
        dimensions = read_dimensions(Path(config_json), vocab_size)
        # An export of ours knows what the model has seen; a tokenizer only what it would do.
        if "bos" in dimensions:
            fields.pop("bos", None)
        if len(dimensions.get("eos_ids", [])) > 1:
            fields.pop("eos_id", None)
        try:
            config = ModelConfig.from_dict({**dimensions, **fields})
        except UserError as error:
            raise UserError(f"{config_json}: {error}") from error
    with torch.device("meta"):  # the weights are handed over, not copied: a large model is in memory once
        network = Transformer(config)
    mend = "are n_layer and the format right?"
    state = stacked(layout(config), published, published.__getitem__, str(weights), mend)
    state |= {name: unfuse(tensor, config) for name, tensor in state.items() if name.endswith(FUSED)}
    network.load_state_dict(state, assign=True)
    return save(out, network, inner, source={"format": "smdm", "weights": weights.name})


def read_published(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file as fp32. Other formats are refused: they would have to be unpickled."""
    if not path.is_file():
        raise UserError(f"{path} is not a file; give the .safetensors file of the weights")
    try:
        with reading(), path.open("rb"):
            tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as safetensors: {reason}; fetch it again, or convert it") from error
    return {name: tensors[given].float() for name, given in unwrapped(tensors).items()}


def vocabulary(published: dict[str, torch.Tensor], path: Path) -> tuple[int, bool]:
    """(V, causal) as head and embedding tell."""
    for name in (HEAD, EMBEDDING):
        if name not in published:
            raise UserError(f"{path} lacks the tensor {name}; is it a published SMDM checkpoint?")
        if published[name].ndim != 2:
            raise UserError(f"{path}: tensor {name} has shape {list(published[name].shape)}, it should be a matrix")
    head, rows = len(published[HEAD]), len(published[EMBEDDING])
    if rows not in (head, head + 1):
        raise UserError(
            f"{path}: {EMBEDDING} has {rows} rows and {HEAD} {head}; a masked diffusion model has one more, "
            "an autoregressive model as many"
        )
    return head, rows == head


def read_dimensions(path: Path, vocab_size: int) -> dict[str, Any]:
    """Our config's fields from theirs."""
    theirs = read_object(path)
    for name in REQUIRED:
        if name not in theirs:
            raise UserError(f"{path}: {name} is missing; needed are {', '.join(REQUIRED)}")
    size = theirs.get("padded_vocab_size", theirs.get("vocab_size", vocab_size))
    if size != vocab_size:
        raise UserError(f"{path}: the vocabulary is {size}, the weights' head has {vocab_size} rows; is it another's?")
    if theirs.get("mask_id", vocab_size) != vocab_size:
        raise UserError(
            f"{path}: mask_id is {theirs['mask_id']}, in published weights it is the last row, {vocab_size}"
        )
    fields = {name: theirs[name] for name in REQUIRED}
    for name, (ours, default) in OPTIONAL.items():
        if (value := theirs.get(name, default)) is not None:
            fields[ours] = value
    if "bos" in theirs:
        fields["bos"] = theirs["bos"]
    return fields


def layout(config: ModelConfig) -> Layout:
    """Our tensors, each with those of theirs that it stacks; theirs of attention is fused in another order."""
    width, ff = config.n_embd, config.intermediate_size
    heads = config.n_head * config.head_dim
    yield "embedding.weight", [(EMBEDDING, config.embedding_rows, width)]
    for i in range(config.n_layer):
        theirs, ours = f"transformer.h.{i}.", f"layers.{i}."
        fused = heads + 2 * config.n_kv_head * config.head_dim
        yield f"{ours}attention_norm.weight", [(f"{theirs}norm_1.weight", width)]
        yield f"{ours}{FUSED}", [(f"{theirs}attn.attn.weight", fused, width)]
        yield f"{ours}attention.out.weight", [(f"{theirs}attn.proj.weight", width, heads)]
        yield f"{ours}mlp_norm.weight", [(f"{theirs}norm_2.weight", width)]
        yield f"{ours}mlp.gate_up.weight", [(f"{theirs}mlp.swiglu.{w}.weight", ff, width) for w in ("w1", "w2")]
        yield f"{ours}mlp.down.weight", [(f"{theirs}mlp.swiglu.w3.weight", width, ff)]
    yield "norm.weight", [(NORM, width)]
    yield "output.weight", [(HEAD, config.vocab_size, width)]


def unfuse(fused: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    """[q; k; v] from rows that are interleaved per group: q ... q k v, q ... q k v, ..."""
    queries = config.n_head // config.n_kv_head
    grouped = fused.view(config.n_kv_head, queries + 2, config.head_dim, config.n_embd)
    return torch.cat([part.flatten(0, 2) for part in grouped.split([queries, 1, 1], dim=1)])


def export(model_path: str | Path, out: str | Path, verify: bool | None = None) -> Path:
    """Writes one of our models as published weights, `out`, and their dimensions beside it (`out` with .json).

    `convert` of both gives the same weights again, bit for bit. Raises `UserError` where the layout has no place for
    what the model is.
    """
    model, out = load(model_path, verify=verify), Path(out)
    config = model.config
    if out.suffix != ".safetensors":
        raise UserError(f"{out} is not named as weights; give a file that ends in .safetensors")
    if config.head_dim * config.n_head != config.n_embd:
        raise UserError(
            f"{model_path}: {config.n_head} heads of {config.head_dim} are not the width {config.n_embd}; "
            "the published layout has no field for that"
        )
    if config.variations:
        raise UserError(f"{model_path} has model.{config.variations[0]}, which the published layout has no place for")
    ours = model.network.state_dict()
    if config.tie_embeddings:
        ours["output.weight"] = ours["embedding.weight"][: config.vocab_size].clone()
    ours |= {name: fuse(tensor, config) for name, tensor in ours.items() if name.endswith(FUSED)}
    tensors = apart(layout(config), ours)
    dimensions = {name: getattr(config, name) for name in REQUIRED}
    dimensions |= {name: getattr(config, ours_name) for name, (ours_name, _) in OPTIONAL.items()}
    dimensions |= {"vocab_size": config.vocab_size, "padded_vocab_size": config.vocab_size}
    if config.mask_id is not None:
        dimensions["mask_id"] = config.mask_id
    with beside(out) as partial:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(partial, tensors)
        write_whole(out.with_suffix(".json"), json.dumps(dimensions, indent=1) + "\n")
        partial.replace(out)
    return out


def fuse(qkv: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    """`unfuse`, backwards: rows per group, q ... q k v, from [q; k; v]."""
    groups, dim = config.n_kv_head, config.head_dim
    parts = qkv.split([config.n_head * dim, groups * dim, groups * dim])
    return torch.cat([part.view(groups, -1, dim, config.n_embd) for part in parts], dim=1).flatten(0, 2)
