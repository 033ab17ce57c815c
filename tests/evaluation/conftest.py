"""Tiny models with results, with dated texts, and those of a finished demo on a small corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unmask
from evaluation.dated import speech
from evaluation.judged import bytes_model
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.shards import TokenData
from unmask.evaluation.benchmarks import evaluate
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.validation import validation_windows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny models whose recipe names prepared text to 1912, and later text of which some records are no use."""
    folder = tmp_path_factory.mktemp("temporal")
    early = [{"text": speech(year), "date": f"{year}-12-03"} for year in range(1890, 1913)]
    (folder / "early.jsonl").write_text("".join(json.dumps(row) + "\n" for row in early))
    data = folder / "data"
    prepare(PrepareOptions(sources=[str(folder / "early.jsonl")], out=data, tokenizer="bytes", split="random:0.2"))
    for name, causal in (("mdm", False), ("arm", True)):
        save(folder / name, bytes_model(causal).network, Tokenizer.plain_bytes())
        (folder / name / "recipe.yaml").write_text(f"data: {data}\n")
    rows: list[Any] = [{"text": speech(year), "date": year, "title": f"of {year}"} for year in (1913, 1914, 1921, 1922)]
    rows += [{"text": " ", "date": "1930"}, {"text": "undated"}, 7, {"text": "short", "date": "1931"}]
    (folder / "later.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two MDMs and an ARM, and their results on a few questions."""
    folder = tmp_path_factory.mktemp("eval")
    tokenizer = Tokenizer.plain_bytes()
    for name, causal, seed in (("mdm", False, 1), ("other", False, 2), ("arm", True, 1)):
        config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=128, causal=causal, eos_id=0)
        save(folder / name, Transformer(config, seed=seed), tokenizer)
        evaluate(folder / name, ["unmask_boolq", "lambada"], limit=6, out=folder / f"{name}.json", device="cpu")
    return folder


@pytest.fixture(scope="module")
def models(demo_run: Path) -> dict[str, Model]:
    return {kind: unmask.load(demo_run / kind) for kind in ("mdm", "arm")}


@pytest.fixture(scope="module")
def windows_NT(demo_run: Path) -> np.ndarray:
    return validation_windows(TokenData(demo_run / "data", "validation"), 64, 6)
