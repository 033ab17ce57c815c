"""A model's begin token and end tokens go out with it and come in again, as transformers would put and heed them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch

import unmask
from tokenizer_kinds import KINDS, gpt2, llama_2, mistral, t5
from unmask.errors import UserError
from unmask.interop.begin import begin_token, frame, framed
from unmask.interop.llama import export_llama, import_llama
from unmask.interop.smdm import convert, export
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

TEXT = "the people of these United States"


def ours(folder: Path, tokenizer: Tokenizer, causal: bool = True, **fields: Any) -> Model:
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64, "causal": causal, **fields}
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **shape)
    return unmask.load(save(folder, Transformer(config, seed=0), tokenizer))


def read_by_library(folder: Path) -> list[int]:
    """What the `tokenizers` library, and so transformers, makes of the text."""
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids


@pytest.mark.parametrize("kind", [*KINDS])
@pytest.mark.parametrize("bos", [None, 1])
def test_an_export_reads_what_the_model_saw(tmp_path: Path, kind: str, bos: int | None) -> None:
    tokenizer = KINDS[kind]()
    model = ours(tmp_path / "ours", tokenizer, eos_id=tokenizer.eos_id, bos=bos)
    folder = export_llama(tmp_path / "ours", tmp_path / "theirs")
    wanted = [*([] if bos is None else [bos]), *tokenizer.encode(TEXT)]
    assert read_by_library(folder) == wanted == model.encode(TEXT)
    side = json.loads((folder / "tokenizer_config.json").read_text())
    assert ("bos_token" in side, side.get("add_bos_token")) == ((False, None) if bos is None else (True, True))
    assert json.loads((folder / "config.json").read_text())["bos_token_id"] == bos
    back = unmask.load(import_llama(folder, tmp_path / "back"))
    assert back.config == model.config and back.encode(TEXT) == wanted
    assert back.tokenizer is not None
    if bos is None and frame(tokenizer) == ([], []):
        assert back.tokenizer.hash == tokenizer.hash


def test_an_import_puts_the_begin_token_where_the_tokenizer_does(tmp_path: Path) -> None:
    for kind, bos in {"llama-2": 1, "mistral": 1, "t5": None, "gpt-2": None}.items():
        tokenizer = KINDS[kind]()
        ours(tmp_path / kind, tokenizer, eos_id=2)
        folder = export_llama(tmp_path / kind, tmp_path / f"{kind}-theirs")
        tokenizer.save(folder)  # as its makers wrote it
        model = unmask.load(import_llama(folder, tmp_path / f"{kind}-back"))
        assert model.config.bos == bos and model.encode(TEXT)[0] == (bos or tokenizer.encode(TEXT)[0])
        given = unmask.load(import_llama(folder, tmp_path / f"{kind}-given", tokenizer=folder / "tokenizer.json"))
        assert given.config.bos == bos


def test_the_side_file_decides_and_its_mistakes_are_named(tmp_path: Path) -> None:
    tokenizer = llama_2()
    tokenizer.save(tmp_path)

    def told(**fields: Any) -> int | None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(fields))
        return begin_token(tmp_path, tokenizer)

    assert told() == 1 and told(add_bos_token=True, bos_token="</s>") == 2 and told(add_bos_token=False) is None
    assert told(add_bos_token=True, bos_token={"content": "<s>"}) == 1 and told(add_bos_token=None) == 1
    for fields in ({"add_bos_token": True}, {"add_bos_token": True, "bos_token": "<nobody>"}):
        with pytest.raises(UserError, match="add_bos_token is true, but its bos_token .* is no token; mend either"):
            told(**fields)
    (tmp_path / "tokenizer_config.json").unlink()
    gpt2().save(tmp_path)
    assert begin_token(tmp_path, gpt2()) is None


def test_a_tokenizer_that_is_right_stays_as_it_is() -> None:
    for make in (llama_2, gpt2, mistral):
        before, _ = frame(make())
        same = json.loads(framed(make(), before[0] if before else None))
        assert same["post_processor"] == json.loads(make().to_json())["post_processor"]
    # An end that it puts behind every text goes; what only moves offsets stays.
    assert frame(t5()) == ([], [1]) and frame(Tokenizer(framed(t5(), None))) == ([], [])
    both = json.loads(framed(gpt2(), 1))["post_processor"]
    assert [one["type"] for one in both["processors"]] == ["ByteLevel", "TemplateProcessing"]


def test_transformers_reads_and_predicts_the_same(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for bos in (None, 1):
        for make in (llama_2, mistral, gpt2):
            name = f"{make.__name__}-{bos}"
            model = ours(tmp_path / name, make(), eos_id=2, bos=bos)
            folder = export_llama(tmp_path / name, tmp_path / f"{name}-theirs")
            ids = transformers.AutoTokenizer.from_pretrained(folder)(TEXT).input_ids
            assert ids == model.encode(TEXT)
            theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
            with torch.no_grad():
                assert (theirs(torch.tensor([ids])).logits - model.network(torch.tensor([ids]))).abs().max() < 1e-5
            assert unmask.load(import_llama(folder, tmp_path / f"{name}-back")).encode(TEXT) == ids


# ---------------------------------------------------------------------- end tokens


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        ([0, 5], None, (0, 5)),
        (0, [0, 5], (0, 5)),
        ([5, 0], [0, 7], (5, 0, 7)),
        (None, [7, 5], (7, 5)),
        (3, None, (3,)),
        (None, None, (0,)),  # the tokenizer's
    ],
)
def test_ends_of_both_files(tmp_path: Path, config: Any, generation: Any, expected: tuple[int, ...]) -> None:
    ours(tmp_path / "ours", Tokenizer.plain_bytes(), eos_id=0)
    folder = export_llama(tmp_path / "ours", tmp_path / "theirs")
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "eos_token_id": config}))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    model = unmask.load(import_llama(folder, tmp_path / "back"))
    assert model.eos_ids == expected and model.config.eos_id == expected[0]
    again = export_llama(tmp_path / "back", tmp_path / "again")
    written = json.loads((again / "config.json").read_text())["eos_token_id"]
    assert written == (list(expected) if len(expected) > 1 else expected[0])
    assert unmask.load(import_llama(again, tmp_path / "there")).config == model.config


@pytest.mark.parametrize(("value", "message"), [("x", "'x'"), ([1, True], ".1, True.; .*a list of them")])
def test_ends_that_are_none_are_named(tmp_path: Path, value: Any, message: str) -> None:
    ours(tmp_path / "ours", Tokenizer.plain_bytes(), eos_id=0)
    folder = export_llama(tmp_path / "ours", tmp_path / "theirs")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(UserError, match=f"generation_config.json: eos_token_id is {message}"):
        import_llama(folder, tmp_path / "back")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 999]}))
    with pytest.raises(UserError, match="eos_ids 999 lies outside the vocabulary of 257"):
        import_llama(folder, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_the_papers_layout_keeps_them(tmp_path: Path) -> None:
    for name, fields in {"a": {"eos_id": 2, "bos": 1}, "b": {"eos_ids": (2, 4)}, "c": {"eos_id": 2}}.items():
        model = ours(tmp_path / name, llama_2(), causal=False, **fields)
        weights = export(tmp_path / name, tmp_path / f"{name}.safetensors")
        for tokenizer in (None, tmp_path / name):  # whose own file would put <s> before a text
            back = unmask.load(
                convert(weights, weights.with_suffix(".json"), tmp_path / "back", rope="fp32", tokenizer=tokenizer)
            )
            assert back.config == model.config
    llama_2().save(tmp_path)
    dimensions = json.loads((tmp_path / "c.json").read_text())
    del dimensions["bos"]
    (tmp_path / "c.json").write_text(json.dumps(dimensions))  # as others write it
    folder = convert(tmp_path / "c.safetensors", tmp_path / "c.json", tmp_path / "p", tokenizer=tmp_path)
    published = unmask.load(folder)
    assert published.config.bos == 1 and published.encode(TEXT)[0] == 1
