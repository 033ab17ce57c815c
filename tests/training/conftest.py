"""A tiny prepared corpus of real English and the recipe that trains on it in seconds; the same to fine-tune on rows."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.fine_tuning import CONTEXT, ROWS, TOKENIZER, network
from unmask.bench.train.corpus import random_corpus
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.model.folder import save
from unmask.training.recipe import build
from unmask.training.recipe_fields import ModelFields, Recipe

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


def changed(fields: dict[str, Any], changes: dict[str, Any]) -> Recipe:
    """A recipe of `fields` with changes; dotted keys as in ``model__n_layer=2``."""
    for key, value in changes.items():
        group, _, inner = key.partition("__")
        if inner:
            fields.setdefault(group, {})[inner] = value
        else:
            fields[group] = value
    recipe: Recipe = build(Recipe, fields, "")
    return recipe


@pytest.fixture
def changed_recipe() -> Callable[[dict[str, Any], dict[str, Any]], Recipe]:
    return changed


class Lab:
    """Recipes of a model with a few thousand parameters on the tiny corpus, and the command line to run them."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder

    def recipe(self, name: str, **changes: Any) -> Recipe:
        """The recipe of a run in the test's folder; dotted keys as in ``model__n_layer=2``."""
        fields: dict[str, Any] = {
            "data": str(self.data),
            "out": str(self.folder / name),
            "context": 16,
            "batch_size": 4,
            "steps": 12,
            "threads": 1,
            "precision": "fp32",
            "model": {"n_layer": 2, "n_head": 2, "n_embd": 16},
            "objective": {"masking": "fixed"},
            "optimizer": {"lr": 3e-3},
            "validation": {"windows": 4, "draws": 2},
        }
        if {"tokens", "flops", "epochs"} & changes.keys():
            del fields["steps"]
        return changed(fields, changes)

    def file(self, name: str, **changes: Any) -> Path:
        """The recipe as a YAML file."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(self.recipe(name, **changes).to_dict()), encoding="utf-8")
        return path

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "unmask", *map(str, words)]

    def torchrun(self, ranks: int, *words: str | Path) -> list[str]:
        """The same command on several processes of this machine."""
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        return [*launcher, "-m", "unmask", *map(str, words)]

    def run(self, *words: str | Path, largest_file: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own, in which no file may grow beyond `largest_file` bytes."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))

        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=100, preexec_fn=limit)


@pytest.fixture(scope="session")
def lab_in(data: Path) -> Callable[[Path], Lab]:
    """A lab in a folder of one's own."""
    return lambda folder: Lab(data, folder)


@pytest.fixture
def lab(data: Path, tmp_path: Path) -> Lab:
    return Lab(data, tmp_path)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    random_corpus(tmp_path / "data", vocab_size=50, n_tokens=1 << 12)
    return Recipe(
        data=str(tmp_path / "data"), out="-", steps=100, context=16, batch_size=2,
        model=ModelFields(n_layer=2, n_head=2, n_embd=16), objective=ObjectiveConfig(random_length=0.0),
    )  # fmt: skip


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each kind to fine-tune, and rows to do it on."""
    folder = tmp_path_factory.mktemp("bases")
    for kind in ("mdm", "arm"):
        save(folder / kind, network(kind == "arm"), TOKENIZER)
    rows = [{"prompt": prompt, "completion": answer} for prompt, answer in ROWS]
    lines = "".join(json.dumps(row) + "\n" for row in rows * 3)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def make(bases: Path, tmp_path: Path, changed_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """make(name="run", kind="mdm", **changes): the recipe of a fine-tuning run."""

    def recipe(name: str = "run", kind: str = "mdm", **changes: Any) -> Recipe:
        fields: dict[str, Any] = {
            "data": str(bases / "rows.jsonl"), "out": str(tmp_path / name), "init": str(bases / kind), "steps": 12,
            "context": CONTEXT, "batch_size": 6, "threads": 1, "log_every": 1, "objective": {"kind": kind},
            "optimizer": {"lr": 3e-3, "warmup": 0}, "validation": {"windows": 4, "draws": 4},
            "sft": {"template": "raw"},
        }  # fmt: skip
        return changed_recipe(fields, changes)

    return recipe
