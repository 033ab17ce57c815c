"""Two tiny models of one tokenizer, as folders, and text to prompt them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.train.recipes import CPU, recipe_of
from unmask.bench.train.arms import Arm, build_arm
from unmask.bench.train.corpus import random_corpus
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks


class Twins(NamedTuple):
    mdm: str
    arm: str
    data: str


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    folder = tmp_path_factory.mktemp("twins")
    (folder / "texts").mkdir()
    for i in range(12):
        (folder / "texts" / f"{i}.txt").write_text(f"Text {i} says that {i} is {i} and {i + 1} is not. " * 6)
    data = str(folder / "data")
    prepare(PrepareOptions(sources=[str(folder / "texts")], out=data, tokenizer="bytes", split="random:0.5"))
    paths = []
    for causal in (False, True):
        config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=0, causal=causal)
        made = save(folder / ("arm" if causal else "mdm"), Transformer(config, seed=1), Tokenizer.plain_bytes())
        paths.append(str(made))
    return Twins(*paths, data)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "data"
    random_corpus(folder, vocab_size=300, n_tokens=1 << 14)
    return folder


@pytest.fixture
def arm_of(corpus: Path) -> Iterator:
    made: list[Arm] = []

    def make(name: str, **changes) -> Arm:
        made.append(build_arm(name, recipe_of(corpus, **changes), CPU, Ranks(CPU), print))
        return made[-1]

    yield make
    for arm in made:
        arm.close()
