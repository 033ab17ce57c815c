"""The real demo on a small corpus of English, with a budget of seconds: fixtures of several folders of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORDS = (
    "the state of the union is strong and the people of the united states are free . congress has the power to lay "
    "taxes and to borrow money . our relations with all nations remain those of peace and friendship . the secretary "
    "of the treasury reports a surplus of the revenue over the expenses of the government for the fiscal year ."
).split()


def sentence(number: int) -> str:
    """A sentence of its own for each number, of 70 to 130 characters."""
    start = number * 7 % len(WORDS)
    words = (WORDS * 2)[start : start + 16]
    return " ".join(word for word in words if word != ".").capitalize() + f" in {1800 + number}."


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(30):
        (folder / f"{i:02d}.txt").write_text(" ".join(sentence(40 * i + j) for j in range(25)), encoding="utf-8")
    return folder


class Demo:
    """The verb that `make demo` runs, on the small corpus."""

    def __init__(self, corpus: Path) -> None:
        self.corpus = corpus

    def command(self, out: Path, *words: str | Path, flops: str = "1e9") -> list[str]:
        small = {"--out": out, "--source": self.corpus, "--tokenizer": "bpe:300", "--split": "random:0.3"}
        small |= {"--flops": flops, "--windows": "6", "--draws": "4"}
        usual = [word for name, value in small.items() if name not in words for word in (name, value)]
        return [sys.executable, "-m", "unmask", "experiment", "demo", *map(str, [*usual, *words])]

    def run(self, out: Path, *words: str | Path, flops: str = "1e9") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(out, *words, flops=flops), capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="session")
def demo(corpus: Path) -> Demo:
    return Demo(corpus)


@pytest.fixture(scope="session")
def demo_run(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished demo."""
    out = tmp_path_factory.mktemp("demo") / "run"
    done = demo.run(out)
    assert done.returncode == 0, done.stderr
    (out / "stdout").write_text(done.stdout)
    return out


@pytest.fixture
def summary(demo_run: Path) -> dict[str, Any]:
    """A copy of its own of the finished demo's numbers."""
    numbers: dict[str, Any] = json.loads((demo_run / "summary.json").read_text(encoding="utf-8"))
    return numbers
