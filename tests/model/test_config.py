"""Sizes that do not fit are named before anything is built."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer

SIZES: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 100}


def test_defaults_follow_the_sizes() -> None:
    config = ModelConfig(**SIZES)
    assert (config.n_kv_head, config.intermediate_size, config.head_dim) == (4, 128, 8)
    assert (config.kind, config.mask_id, config.embedding_rows) == ("mdm", 100, 101)
    causal = ModelConfig(**SIZES, causal=True)
    assert (causal.kind, causal.mask_id, causal.embedding_rows) == ("arm", None, 100)


def test_a_config_is_its_dictionary() -> None:
    config = ModelConfig(**SIZES, n_kv_head=2, intermediate_size=40, head_dim=6, tie_embeddings=True, eos_id=3)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_end_tokens_and_begin_tokens_are_written_only_where_they_say_something() -> None:
    """So that the hashes of models that were there before stay what they are."""
    plain = ModelConfig(**SIZES, eos_id=3)
    assert plain.eos_ids == (3,) and plain.bos is None and plain.start_id == 3
    assert ModelConfig(**SIZES).eos_ids == () and ModelConfig(**SIZES).start_id is None
    for config in (plain, ModelConfig(**SIZES), ModelConfig(**SIZES, eos_id=3, eos_ids=(3,))):
        assert not {"eos_ids", "bos"} & set(config.to_dict())
    several = ModelConfig(**SIZES, eos_ids=[7, 3, 7], bos=1)  # type: ignore[arg-type]
    assert (several.eos_id, several.eos_ids, several.start_id) == (7, (7, 3), 1)
    assert several.to_dict()["eos_ids"] == [7, 3] and several.to_dict()["bos"] == 1
    assert ModelConfig.from_dict(several.to_dict()) == several
    assert dataclasses.replace(plain, eos_id=5).eos_ids == (5,)


def test_variations_are_written_only_where_they_say_something() -> None:
    plain, last = ModelConfig(**SIZES), ModelConfig(**SIZES, mask=100, shift=False)
    assert last == plain and plain.to_dict() == last.to_dict() and plain.later == {}
    assert (plain.mask_id, plain.blank_id, plain.embedding_rows) == (100, 100, 101)
    fields = {"mask": 0, "shift": True, "qkv_bias": True, "qk_norm": True}
    varied = ModelConfig(**SIZES, **fields)
    assert varied.later == fields and varied.variations == list(fields)
    assert (varied.mask_id, varied.blank_id, varied.embedding_rows) == (0, 0, 100)
    assert ModelConfig.from_dict(varied.to_dict()) == varied
    arm = ModelConfig(**SIZES, causal=True)
    assert (arm.mask_id, arm.blank_id, arm.embedding_rows) == (None, 100, 100)
    assert dataclasses.replace(plain, vocab_size=50).mask_id == 50


@pytest.mark.parametrize("fields", [{}, {"qkv_bias": True}, {"qk_norm": True, "head_dim": 6}, {"mask": 5}], ids=str)
def test_parameters_are_counted_exactly(fields: dict[str, Any]) -> None:
    config = ModelConfig(**SIZES, n_kv_head=2, **fields)
    assert sum(weight.numel() for weight in Transformer(config).parameters()) == config.n_params


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_head": 5}, "model.n_embd 32 does not divide by model.n_head 5; change one, or set model.head_dim"),
        ({"n_head": 32}, "model.head_dim 1 is odd"),
        ({"n_kv_head": 3}, "model.n_head 4 does not divide by model.n_kv_head 3"),
        ({"n_layer": 0}, "model.n_layer is 0; give a whole number of at least 1"),
        ({"n_layer": 2.5}, "model.n_layer is 2.5"),
        ({"n_embd": True}, "model.n_embd is True"),
        ({"intermediate_size": -1}, "model.intermediate_size is -1"),
        ({"rope_base": 0}, "model.rope_base is 0; give a number above 0"),
        ({"norm_eps": -1.0}, "model.norm_eps is -1.0"),
        ({"rope_table": "fp16"}, "model.rope_table is 'fp16'; give one of fp32, bf16"),
        ({"eos_id": "end"}, "model.eos_id 'end' lies outside"),
        ({"eos_id": 100}, "model.eos_id 100 lies outside the vocabulary of 100"),
        ({"eos_ids": 3}, "model.eos_ids is 3; give a list of token ids"),
        ({"eos_ids": [3, 100]}, "model.eos_ids 100 lies outside the vocabulary of 100"),
        ({"eos_ids": [3, None]}, "model.eos_ids None lies outside"),
        ({"eos_ids": [3, 4], "eos_id": 4}, "model.eos_ids begins with 3, model.eos_id is 4; make them the same"),
        ({"bos": 100}, "model.bos 100 lies outside the vocabulary of 100"),
        ({"bos": "<s>"}, "model.bos '<s>' lies outside"),
        ({"mask": 101}, "model.mask is 101; give a token id below 100, or 100 for a row of its own"),
        ({"mask": True}, "model.mask is True; give a token id"),
        ({"mask": 3, "eos_id": 3}, "model.mask is 3, which begins or ends a text too; give another token"),
        ({"mask": 3, "causal": True}, "model.mask concerns masked diffusion models"),
        ({"shift": True, "causal": True}, "model.shift concerns masked diffusion models"),
        ({"shift": "yes"}, "model.shift is 'yes'; give true or false"),
        ({"n_heads": 4}, r"model.n_heads is not a field of the model \(did you mean 'n_head'"),
        ({"causal": "yes"}, "model.causal is 'yes'; give true or false"),
        ({"norm_eps": "small"}, "model.norm_eps is 'small'; give a number"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelConfig.from_dict({**SIZES, **fields})


def test_a_missing_field_is_named_with_its_place() -> None:
    with pytest.raises(UserError, match="x/config.json: model.vocab_size is missing"):
        ModelConfig.from_dict({"n_layer": 1, "n_head": 1, "n_embd": 4}, where="x/config.json: model")
