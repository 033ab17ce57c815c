"""One call in and one call out for every published format, and what does not concern a format is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import unmask
from unmask.errors import UserError
from unmask.interop.convert import bring_in, send_out
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer


def made(folder: Path, causal: bool) -> Path:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=8, vocab_size=16, block_size=8, causal=causal, eos_id=0)
    return save(folder, Transformer(config, seed=1))


@pytest.mark.parametrize(("format", "causal"), [("smdm", False), ("llama", True)])
def test_there_and_back(tmp_path: Path, format: str, causal: bool) -> None:
    model = made(tmp_path / "model", causal)
    target = tmp_path / ("theirs.safetensors" if format == "smdm" else "theirs")
    written = send_out(format, str(model), str(target))
    options = {"config": str(tmp_path / "theirs.json"), "rope": "fp32"} if format == "smdm" else {}
    back = bring_in(format, str(target), str(tmp_path / "back"), **options)
    assert written.exists() and back.kind == ("arm" if causal else "mdm")
    before = unmask.load(model).network.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in back.network.state_dict().items())


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("smdm", {}, "give exactly one of --config JSON and --size NAME"),
        ("smdm", {"config": "a.json", "size": "6M"}, "give exactly one of --config JSON and --size NAME"),
        ("llama", {"size": "6M"}, "--size does not concern llama; leave it out"),
        ("gguf", {"rope": "fp32"}, "--rope does not concern gguf; leave it out"),
    ],
)
def test_options_of_other_formats_are_refused(
    tmp_path: Path, format: str, options: dict[str, str], message: str
) -> None:
    (tmp_path / "weights").write_text("")
    with pytest.raises(UserError, match=message):
        bring_in(format, str(tmp_path / "weights"), str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_what_is_not_written(tmp_path: Path) -> None:
    model = str(made(tmp_path / "model", causal=True))
    with pytest.raises(UserError, match="models are not written as gguf; use llama --export"):
        send_out("gguf", model, str(tmp_path / "out"))
    with pytest.raises(UserError, match="--tokenizer does not concern llama --export; leave it out"):
        send_out("llama", model, str(tmp_path / "out"), tokenizer="bytes")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the folder or file of the published weights"):
        bring_in("llama", str(tmp_path / "none"), str(tmp_path / "out"))
