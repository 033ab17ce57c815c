"""Llama-layout models in and out: what `LlamaForCausalLM` of transformers reads and writes is our ARM.

    unmask convert llama SmolLM2-135M --out models/smollm2            # theirs to a model folder
    unmask convert llama runs/arm --export --out exported             # and back: transformers loads the result
    import_llama("SmolLM2-135M", "models/smollm2"); export_llama("runs/arm", "exported")

The architectures are the same (Touvron et al., arXiv 2302.13971): pre-norm RMSNorm, half-split rotary embedding,
SwiGLU, no biases, grouped queries, a head that may be tied. Only names differ, and that we keep [q; k; v] and
[gate; up] each in one matrix. What a config asks for beyond that (biases, scaled rotary tables) is refused by name.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from unmask.errors import UserError
from unmask.files import new_folder, reading, sync_folder, write_tensors
from unmask.interop.begin import begin_token, framed, name_of
from unmask.interop.files import read_object
from unmask.interop.layout import Layout, apart, stacked
from unmask.model.config import ModelConfig
from unmask.model.folder import load, save, unwrapped
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
GENERATION = "generation_config.json"
EMBEDDING, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
# Their field: (ours, the value where theirs is absent; None: it must be there)
FIELDS: dict[str, tuple[str, Any]] = {
    "num_hidden_layers": ("n_layer", None),
    "num_attention_heads": ("n_head", None),
    "hidden_size": ("n_embd", None),
    "intermediate_size": ("intermediate_size", None),
    "vocab_size": ("vocab_size", None),
    "num_key_value_heads": ("n_kv_head", 0),
    "head_dim": ("head_dim", 0),
    "max_position_embeddings": ("block_size", 2048),
    "rms_norm_eps": ("norm_eps", 1e-6),
    "tie_word_embeddings": ("tie_embeddings", False),
}
# What the backbone does not have, and the value that says so.
ONLY: dict[str, Any] = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}


def import_llama(folder: str | Path, out: str | Path, tokenizer: str | Path | None = None) -> Path:
    """Writes `out`, a model folder, from a Llama folder: config.json, safetensors (in one file or several) and, where
    there is one, tokenizer.json; returns its path.

    Raises `UserError` for another architecture and for missing, misshapen or unknown tensors.
    """
    folder = Path(folder)
    if Path(out).resolve() == folder.resolve():
        raise UserError(f"{out} holds the published model itself; give another folder for the result")
    fields = read_fields(folder / CONFIG)
    fields["eos_ids"] = end_tokens(folder / CONFIG, folder / GENERATION)
    inner = None
    if tokenizer is not None or (folder / "tokenizer.json").is_file():
        inner = Tokenizer.from_file(tokenizer or folder)
        fields["bos"] = begin_token(tokenizer or folder, inner)
    tensors = Tensors.of(folder)
    network = assemble(tensors.names, tensors.read, fields, inner, str(folder))
    return save(out, network, inner, source={"format": "llama", "weights": folder.name})


def assemble(
    names: set[str], read: Callable[[str], torch.Tensor], fields: dict[str, Any], inner: Tokenizer | None, where: str
) -> Transformer:
    """An ARM from tensors under Llama's names, each read once, so that the model is in memory once."""
    try:
        if inner is not None and not fields.get("eos_ids"):
            fields["eos_id"] = inner.eos_id
        config = ModelConfig.from_dict({**fields, "causal": True})
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if inner is not None and inner.vocab_size > config.vocab_size:
        raise UserError(f"{where}: the tokenizer has {inner.vocab_size} tokens, the weights only {config.vocab_size}")
    with torch.device("meta"):
        network = Transformer(config)
    wanted = {name for name in names if not name.endswith("rotary_emb.inv_freq")}
    if config.tie_embeddings:
        wanted.discard(HEAD)  # some files repeat the embedding there
    state = stacked(layout(config), wanted, read, where, "is num_hidden_layers right?")
    network.load_state_dict(state, assign=True)
    return network


def export_llama(model_path: str | Path, out: str | Path, verify: bool | None = None) -> Path:
    """Writes `out`, a folder that `transformers.LlamaForCausalLM.from_pretrained` loads, from one of our ARMs.

    Raises `UserError` for a masked diffusion model, whose attention that class does not have.
    """
    model = load(model_path, verify=verify)
    config, out = model.config, Path(out)
    if not config.causal:
        raise UserError(f"{model_path} is a masked diffusion model; LlamaForCausalLM is causal, so give an ARM")
    if config.variations:
        raise UserError(f"{model_path} has model.{config.variations[0]}, which Llama's layout has no place for")
    if config.rope_table == "bf16":
        warnings.warn(
            "this model's rotary tables are rounded to bf16, transformers' are not: logits differ a little "
            "(convert the weights with --rope fp32 to compare exactly)",
            stacklevel=2,
        )
    their_config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **ONLY,
        **{theirs: getattr(config, ours) for theirs, (ours, _) in FIELDS.items()},
        # transformers 5 reads rope_parameters, older releases and other tools rope_theta
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "rope_theta": config.rope_base,
        "bos_token_id": config.bos,
        "eos_token_id": list(config.eos_ids) if len(config.eos_ids) > 1 else config.eos_id,
        "torch_dtype": "float32",
    }
    with new_folder(out) as partial:
        write_tensors(partial / WEIGHTS, apart(layout(config), model.network.state_dict()), {"format": "pt"})
        (partial / CONFIG).write_text(json.dumps(their_config, indent=2) + "\n", encoding="utf-8")
        if model.tokenizer is not None:
            (partial / "tokenizer.json").write_text(framed(model.tokenizer, config.bos), encoding="utf-8")
            eos = None if config.eos_id is None else name_of(model.tokenizer, config.eos_id)
            side: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos}
            if config.bos is not None:
                side |= {"bos_token": name_of(model.tokenizer, config.bos), "add_bos_token": True}
            (partial / "tokenizer_config.json").write_text(json.dumps(side, indent=2) + "\n", encoding="utf-8")
        sync_folder(partial)
    return out


def layout(config: ModelConfig) -> Layout:
    """Our tensors, each with those of theirs that it stacks. Theirs have no mask, but a model of their class may."""
    width, ff = config.n_embd, config.intermediate_size
    queries, keys = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    yield "embedding.weight", [(EMBEDDING, config.embedding_rows, width)]
    for i in range(config.n_layer):
        theirs, ours = f"model.layers.{i}.", f"layers.{i}."
        attention = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)]
        yield f"{ours}attention_norm.weight", [(f"{theirs}input_layernorm.weight", width)]
        yield (
            f"{ours}attention.qkv.weight",
            [(f"{theirs}self_attn.{name}.weight", rows, width) for name, rows in attention],
        )
        yield f"{ours}attention.out.weight", [(f"{theirs}self_attn.o_proj.weight", width, queries)]
        yield f"{ours}mlp_norm.weight", [(f"{theirs}post_attention_layernorm.weight", width)]
        yield (
            f"{ours}mlp.gate_up.weight",
            [(f"{theirs}mlp.{name}.weight", ff, width) for name in ("gate_proj", "up_proj")],
        )
        yield f"{ours}mlp.down.weight", [(f"{theirs}mlp.down_proj.weight", width, ff)]
    yield "norm.weight", [(NORM, width)]
    if not config.tie_embeddings:
        yield "output.weight", [(HEAD, config.vocab_size, width)]


def read_fields(path: Path) -> dict[str, Any]:
    """Our config's fields from a Llama config.json. Raises `UserError` naming what the backbone does not have."""
    theirs = read_object(path)
    kind = theirs.get("model_type")
    if kind != "llama":
        raise UserError(f"{path}: model_type is {kind!r}; only 'llama' has the backbone's architecture")
    for name, wanted in ONLY.items():
        if (named := theirs.get(name, wanted)) != wanted:
            raise UserError(f"{path}: {name} is {named!r}; the backbone has {wanted!r} only")
    rope = theirs.get("rope_parameters") or {}
    scaling = theirs.get("rope_scaling") or rope
    if (named := scaling.get("rope_type", scaling.get("type", "default"))) != "default":
        raise UserError(f"{path}: rotary embedding of type {named!r} is not supported; only the plain one is")
    fields: dict[str, Any] = {}
    for name, (ours, default) in FIELDS.items():
        value = theirs.get(name)
        if value is None and default is None:
            raise UserError(f"{path}: {name} is missing")
        fields[ours] = default if value is None else value
    fields["rope_base"] = rope.get("rope_theta", theirs.get("rope_theta", 10000.0))
    return fields


def end_tokens(*files: Path) -> list[int]:
    """The tokens that end a text by config.json, then those that generation_config.json, where it is, adds to them:
    transformers' `generate` ends at any."""
    tokens: list[int] = []
    for file in files:
        value = read_object(file).get("eos_token_id") if file.is_file() else None
        for token in value if isinstance(value, list) else [value]:
            if token is not None and (not isinstance(token, int) or isinstance(token, bool)):
                raise UserError(f"{file}: eos_token_id is {value!r}; it is a token id, or a list of them")
            tokens += [] if token is None else [token]
    return list(dict.fromkeys(tokens))


class Tensors:
    """Names of the tensors in a folder's safetensors files, read one by one."""

    def __init__(self, homes: Mapping[str, Path]) -> None:
        self._homes, self._given = homes, unwrapped(homes)
        self.names = set(self._given)

    @classmethod
    def of(cls, folder: Path) -> Tensors:
        if (folder / WEIGHTS).is_file():
            files = [folder / WEIGHTS]
        elif (folder / INDEX).is_file():
            weight_map = read_object(folder / INDEX).get("weight_map")
            if not isinstance(weight_map, dict):
                raise UserError(f"{folder / INDEX} has no weight_map; fetch the folder again")
            files = sorted({folder / Path(str(name)).name for name in weight_map.values()})
        else:
            raise UserError(f"{folder} has neither {WEIGHTS} nor {INDEX}; weights are read from safetensors only")
        homes: dict[str, Path] = {}
        for file in files:
            with _opened(file) as tensors:
                homes |= dict.fromkeys(tensors.keys(), file)
        return cls(homes)

    def read(self, name: str) -> torch.Tensor:
        given = self._given[name]
        with _opened(self._homes[given]) as tensors:
            return tensors.get_tensor(given)


def _opened(path: Path) -> Any:
    try:
        with reading(), path.open("rb"):
            return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors: {str(error).splitlines()[0]}; fetch it again"
        ) from error
