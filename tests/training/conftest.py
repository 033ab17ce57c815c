"""A tiny prepared corpus of real English, and the recipe that trains on it in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unmask.data.prepare import PrepareOptions, prepare
from unmask.training.recipe import Recipe, build

TEXT = (
    "The quick brown fox jumps over the lazy dog. A masked model fills in what is hidden. "
    "We hold these truths to be self-evident, that all men are created equal. "
    "In the beginning there was the word, and the word was masked. "
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for i in range(40):
        (folder / f"{i:02d}.txt").write_text(f"Chapter {i}. " + TEXT * (1 + i % 3), encoding="utf-8")
    out = folder.parent / "data"
    prepare(PrepareOptions(sources=[str(folder)], out=out, tokenizer="bpe:300", split="random:0.2", workers=1))
    return out


def make_recipe(data: Path, out: Path, **changes: Any) -> Recipe:
    """A recipe of a model with a few thousand parameters; dotted keys as in ``model__n_layer=2``."""
    fields: dict[str, Any] = {
        "data": str(data),
        "out": str(out),
        "context": 16,
        "batch_size": 4,
        "steps": 12,
        "threads": 1,
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 16},
        "objective": {"masking": "fixed"},
        "optimizer": {"lr": 3e-3},
        "validation": {"windows": 4, "draws": 2},
    }
    if {"tokens", "flops"} & changes.keys():
        del fields["steps"]
    for name, value in changes.items():
        group, _, key = name.partition("__")
        if key:
            fields.setdefault(group, {})[key] = value
        else:
            fields[group] = value
    recipe: Recipe = build(Recipe, fields, "")
    return recipe


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "unmask", *map(str, words)]


def run_unmask(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*words), capture_output=True, text=True, env=environment, timeout=100, **options)
