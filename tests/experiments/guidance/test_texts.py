"""The documents and the dictionary: read once, with what is no use counted, and split for a base as for its items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.experiments.frame import Settings, experiment
from unmask.experiments.guidance import texts as module
from unmask.experiments.guidance.items import side_of
from unmask.experiments.guidance.texts import Texts
from unmask.experiments.speed.made import made_glosses

QUICK = experiment("guidance").settings_of(Settings(Path("out"), quick=True))


def test_rows_of_a_dictionary_that_are_no_use_are_counted(tmp_path: Path) -> None:
    lines = [{"word": f"w{i}", "gloss": f"the number {i} of them"} for i in range(5)] + [{"word": "x"}, 3]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = Texts({**QUICK, "dictionary": str(path)}, tmp_path)
    assert len(texts.pairs()) == 5 and sum(texts.skipped.values()) == 2


def test_a_base_reads_what_is_not_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = module.read_pairs
    monkeypatch.setattr(module, "read_pairs", lambda *given: read.append(given[0]) or real(*given))
    texts = Texts(QUICK, tmp_path)
    sides = {text.split(":")[0]: side for text, side in texts.period()}
    assert set(sides.values()) == {"train", "validation"} and len(sides) == len(made_glosses())
    for word, side in sides.items():
        assert (side_of([f"word {word.casefold()}"], texts.counts) == "train") == (side == "train")
    texts.pairs()
    assert read == ["made"], "once"
