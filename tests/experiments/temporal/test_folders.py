"""Texts of a corpus in the experiment's folder: made once, and refused where they are others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments.temporal import folders
from unmask.experiments.temporal.folders import MADE, PERIOD, TESTS, read_tests, refuse_others, write
from unmask.experiments.temporal.texts import IN_PERIOD, Corpus
from unmask.experiments.temporal.texts import Test as Document

TESTED = [
    Document("1900-A-1", "then", IN_PERIOD, 1900, "1900", "written"),
    Document("1950-B-1", "now", "1950s", 1950, "1950"),
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write(tmp_path, Corpus("speeches", ["before"], TESTED, {"messages": 6}))
    return tmp_path


def test_texts_come_back(made: Path) -> None:
    refuse_others(made)
    assert read_tests(made / TESTS) == TESTED
    rows = [json.loads(line) for line in (made / PERIOD).read_text().splitlines()]
    assert rows == [{"text": "before", "split": "train"}, {"text": "then", "split": "validation"}]
    assert json.loads((made / MADE).read_text())["bytes_by_source"] == {"messages": 6}


@pytest.mark.parametrize("name", [PERIOD, TESTS])
def test_texts_that_somebody_changed_are_refused(made: Path, name: str) -> None:
    (made / name).write_text((made / name).read_text().replace("then", "when"))
    with pytest.raises(UserError, match=f"{name} is not as it was made; give another --out"):
        refuse_others(made)


def test_texts_of_another_version_are_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "VERSION", 99)
    with pytest.raises(UserError, match="holds texts that another version of the experiment made; give another --out"):
        refuse_others(made)
    (made / MADE).unlink()
    with pytest.raises(UserError, match="another version"):
        refuse_others(made)
