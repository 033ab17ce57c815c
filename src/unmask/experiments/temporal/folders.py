"""A corpus in the experiment's folder: its texts, the same as tokens, and what tells them from others.

    texts = gathered("speeches", out / "data", packages, own)    # own: the experiment's settings
    texts.tests(), texts.tokens, texts.tests_sum, texts.bytes_by_source

Texts are made once. What an earlier version made of the packages, or somebody changed, is refused: figures of two kinds
of text are never mixed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.publish import building
from unmask.errors import UserError
from unmask.experiments.temporal.texts import VERSION, Choice, Corpus, Test, build
from unmask.experiments.workplace import write_lines
from unmask.files import file_sha256, write_whole
from unmask.settings import read_json
from unmask.terminal import say

PERIOD, TESTS, MADE = "period.jsonl", "tests.jsonl", "made.json"


@dataclass(frozen=True)
class Texts:
    """Where a corpus lies, the sum of the texts that are tested on, and what the training text is made of."""

    folder: Path
    tests_sum: str
    bytes_by_source: dict[str, int]

    @property
    def tokens(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-tokens")

    @property
    def tests_file(self) -> Path:
        return self.folder / TESTS

    def tests(self) -> list[Test]:
        return read_tests(self.tests_file)


def read_tests(path: Path) -> list[Test]:
    return [Test(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def gathered(name: str, home: Path, packages: Path, own: Mapping[str, Any]) -> Texts:
    """Makes the texts where they are not there, and their tokens by a tokenizer of the training text alone.

    Raises `UserError` where the folder holds other texts than this version made, and what `texts.build` raises.
    """
    folder = home / name
    if folder.exists():
        refuse_others(folder)
    else:
        say(f"temporal: {name}: reading its text")
        shares = own["held_out"], own["held_out_pages"]
        choice = Choice(*shares, tuple(own["sources"]), tuple(own["late_sources"]), own["pages"], 0, own["messages"])
        corpus = build(name, packages, choice)
        home.mkdir(parents=True, exist_ok=True)
        with building(folder, replace=False) as partial:
            write(partial, corpus)
    made = read_json(folder / MADE)
    texts = Texts(folder, made["sha256"][TESTS], made["bytes_by_source"])
    words = [str(folder / PERIOD)], texts.tokens, f"bpe:{own['vocab']}"
    prepare(PrepareOptions(*words, split="field:split", workers=1))
    return texts


def write(folder: Path, corpus: Corpus) -> None:
    """The texts as JSON lines, and a record of them."""
    inside = [{"text": test.text, "split": "validation"} for test in corpus.tests if test.in_period]
    write_lines(folder / PERIOD, [{"text": text, "split": "train"} for text in corpus.train] + inside)
    write_lines(folder / TESTS, [vars(test) for test in corpus.tests])
    sums = {name: file_sha256(folder / name) for name in (PERIOD, TESTS)}
    made = {"version": VERSION, "sha256": sums, "bytes_by_source": corpus.bytes_by_source}
    write_whole(folder / MADE, json.dumps(made, indent=1) + "\n")


def refuse_others(folder: Path) -> None:
    """Raises `UserError` where a corpus was made by another version, or is not as it was made."""
    made = read_json(folder / MADE) if (folder / MADE).is_file() else {}
    if made.get("version") != VERSION:
        raise UserError(f"{folder} holds texts that another version of the experiment made; give another --out")
    for name, before in made["sha256"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != before:
            raise UserError(f"{folder / name} is not as it was made; give another --out")
