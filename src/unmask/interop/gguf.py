"""Llama-architecture GGUF files (llama.cpp's format), dequantised to fp32, with the tokenizer inside them.

    unmask convert gguf SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2     # needs the extra `gguf`

Their query and key rows stand in pairs for interleaved rotation, as in the original Llama; ours and those of
transformers rotate halves, so the rows are put back. Of tokenizers the byte-level BPE kind is read, with the splitting
rules named in `PRE_TOKENIZERS`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.interop.begin import begin_token
from unmask.interop.llama import EMBEDDING, HEAD, NORM, assemble
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer

# Their field under `llama.`: (ours, the value where theirs is absent; None: it must be there)
FIELDS: dict[str, tuple[str, Any]] = {
    "block_count": ("n_layer", None),
    "attention.head_count": ("n_head", None),
    "embedding_length": ("n_embd", None),
    "feed_forward_length": ("intermediate_size", None),
    "context_length": ("block_size", None),
    "attention.head_count_kv": ("n_kv_head", 0),
    "attention.key_length": ("head_dim", 0),
    "attention.layer_norm_rms_epsilon": ("norm_eps", None),
    "rope.freq_base": ("rope_base", 10000.0),
}
TOP = {"token_embd.weight": EMBEDDING, "output_norm.weight": NORM, "output.weight": HEAD}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
# tokenizer.ggml.pre: what splits text before the merges
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTES,
    "smollm": {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTES]},
}
CONTROL, USER_DEFINED = 3, 4  # llama.cpp's token types


def import_gguf(file: str | Path, out: str | Path, tokenizer: str | Path | None = None) -> Path:
    """Writes `out`, a model folder, from a GGUF file of the Llama architecture; returns its path.

    `tokenizer` replaces the one inside. Raises `UserError` for other architectures and damaged files.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file} is not a file; give a .gguf file")
    try:
        import gguf
    except ImportError as error:
        raise UserError("reading GGUF needs the package gguf: pip install 'unmask[gguf]'") from error
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, IndexError, OSError, KeyError) as error:
        raise UserError(f"{file} cannot be read as GGUF: {str(error).splitlines()[0]}; fetch it again") from error
    metadata = {name: field.contents for name, field in reader.fields.items()}  # read where asked for

    def field(name: str, default: Any = None) -> Any:
        if name not in metadata:
            if default is None:
                raise UserError(f"{file} lacks the field {name}")
            return default
        return metadata[name]()

    architecture = field("general.architecture")
    if architecture != "llama":
        raise UserError(f"{file} is of architecture {architecture!r}; only 'llama' has the backbone's architecture")
    if field("llama.rope.scaling.type", "none") != "none":
        raise UserError(f"{file}: scaled rotary embedding is not supported; only the plain one is")
    fields = {ours: field(f"llama.{name}", default) for name, (ours, default) in FIELDS.items()}
    tensors = {ours_name(tensor.name, file): tensor for tensor in reader.tensors}
    if EMBEDDING not in tensors:
        raise UserError(f"{file} lacks the tensor token_embd.weight; fetch it again")
    fields["vocab_size"] = int(tensors[EMBEDDING].shape[1])
    fields["tie_embeddings"] = HEAD not in tensors
    fields["eos_ids"] = end_tokens(field)
    if tokenizer is None and field("tokenizer.ggml.add_bos_token", False):
        fields["bos"] = int(field("tokenizer.ggml.bos_token_id"))

    def read(name: str) -> torch.Tensor:
        tensor = tensors[name]
        try:
            values = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        except (NotImplementedError, ValueError) as error:
            raise UserError(f"{file}: tensor {tensor.name} of type {tensor.tensor_type.name}: {error}") from error
        heads = {"q_proj": fields["n_head"], "k_proj": fields["n_kv_head"] or fields["n_head"]}
        kind = name.split(".")[-2]
        return halves(values, heads[kind]) if kind in heads else values

    inner = Tokenizer.from_file(tokenizer) if tokenizer is not None else embedded_tokenizer(field, file)
    if tokenizer is not None:
        fields["bos"] = begin_token(tokenizer, inner)
    network = assemble(set(tensors), read, fields, inner, str(file))
    return save(out, network, inner, source={"format": "gguf", "weights": file.name})


def end_tokens(field: Any) -> list[int]:
    """The tokens that end a text or a turn, as llama.cpp stops at them: a field holds one, or a list."""
    tokens: list[int] = []
    for name in ("eos", "eot", "eom"):
        value = field(f"tokenizer.ggml.{name}_token_id", -1)
        tokens += value if isinstance(value, list) else [value]
    return list(dict.fromkeys(int(token) for token in tokens if token >= 0))


def ours_name(name: str, file: Path) -> str:
    """Llama's name of a GGUF tensor."""
    if name in TOP:
        return TOP[name]
    block, number, kind, last = [*name.split("."), "", "", "", ""][:4]
    if block != "blk" or kind not in LAYER or last != "weight":
        raise UserError(f"{file} has the unknown tensor {name}; only plain Llama models are read")
    return f"model.layers.{number}.{LAYER[kind]}.weight"


def halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of every head from pairs (0, 1), (2, 3), ... to halves: first members, then second members."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)


def embedded_tokenizer(field: Any, file: Path) -> Tokenizer:
    """The byte-level BPE of the file as a tokenizer.json."""
    kind, pre = field("tokenizer.ggml.model"), field("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise UserError(
            f"{file} has a tokenizer of kind {kind}/{pre}; only {', '.join(PRE_TOKENIZERS)} are read: "
            "give the model's own with --tokenizer"
        )
    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    eos = next(iter(end_tokens(field)), None)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": i, "content": token, **flags, "special": what == CONTROL, **({"eos": True} if i == eos else {})}
        for i, (token, what) in enumerate(zip(tokens, kinds, strict=True))
        if what in (CONTROL, USER_DEFINED)
    ]
    fields = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": {**_BYTES, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in field("tokenizer.ggml.merges")],
        },
    }
    return Tokenizer(json.dumps(fields, ensure_ascii=False), str(file))
