"""Small sources, and a `prepare` that keeps quiet."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from unmask.data.manifest import Manifest
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare

WORDS = "the people of our country and its laws stand while peace is kept among nations Überfluß 東京 €5".split()


class Recorder:
    """A progress that remembers: notes as lines, updates as (phase, done, total)."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.updates: list[tuple[str, int, int | None]] = []

    def update(self, phase: str, done: int, total: int | None) -> None:
        self.updates.append((phase, done, total))

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make(recorder: Recorder) -> Callable[..., Manifest]:
    """``make(out=..., sources=..., **options)``; bytes and half held out unless told otherwise."""

    def call(**options: object) -> Manifest:
        return prepare(PrepareOptions(**{"tokenizer": "bytes", "split": "random:0.5", **options}), recorder)

    return call


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of 40 different documents, ten of them in a folder inside."""
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    generator = random.Random(0)
    for number in range(40):
        place = folder / "deep" if number % 4 == 0 else folder
        text = " ".join(generator.choice(WORDS) for _ in range(60)) + f" {number}.\n"
        (place / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    return folder
