"""Glosses of one length, split by headword, rows counted and named; the made-up dictionary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments.speed.glosses import MADE_SHARE, read_pairs, split_glosses, write_rows
from unmask.experiments.speed.made import made_glosses
from unmask.experiments.speed.plan import Plan
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus import held_out

from .conftest import quick_plan


def plan() -> Plan:
    return quick_plan("length=40", "validation_words=4", "survey_words=8", "test_words=12")


def test_every_text_has_the_length_and_no_word_is_on_two_sides(tmp_path: Path) -> None:
    tokenizer, small = Tokenizer.plain_bytes(), plan()
    split = split_glosses(made_glosses(), {}, tokenizer, small, MADE_SHARE, 0)
    assert [len(part) for part in (split.validation, split.survey, split.test)] == [4, 8, 12]
    for gloss in (*split.train, *split.held_out):
        assert len(gloss.ids) == 39 and tokenizer.encode(gloss.text) == list(gloss.ids) and gloss.text[0] == " "
    aside = {gloss.word for gloss in (*split.validation, *split.held_out)}
    assert len(aside) == 24 and all(held_out([f"word {word}"], MADE_SHARE) for word in aside)
    assert not any(held_out([f"word {gloss.word}"], MADE_SHARE) for gloss in split.train)
    assert not {gloss.text for gloss in split.held_out} & {gloss.text for gloss in split.train}
    write_rows(split, small, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert len(rows) == 12 * 3 and {row["completion"] for row in rows} == {gloss.text for gloss in split.test}
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(split.train) and len({row["prompt"][:6] == "Define" for row in rows}) == 2
    assert split.report()["test"] == 12 and "over" not in json.dumps(split.report())


def test_what_is_too_short_or_stands_in_training_is_counted_and_named() -> None:
    long = [(f"word{i}", f"the {i}-th of many things that are said here") for i in range(400)]
    copies = [(f"copy{i}", long[i][1]) for i in range(60)]
    split = split_glosses([*long, *copies, ("brief", "short")], {}, Tokenizer.plain_bytes(), plan(), 0.2, 0)
    assert split.skipped["shorter than 40 tokens"] == {"count": 1, "rows": ["brief"]}
    twice = split.skipped["held out, but word for word in the training part"]
    assert twice["count"] > len(twice["rows"]) == 5
    with pytest.raises(UserError, match="and 24 held out are needed"):
        split_glosses(long[:50], {}, Tokenizer.plain_bytes(), plan(), 0.2, 0)


def test_rows_of_a_file_that_are_no_use_are_named(tmp_path: Path) -> None:
    rows = ['{"word": "a", "gloss": "an article"}', '{"word": "b"}', "[1]", '{"word": "c", "gloss": " "}',
            '{"word": " a", "gloss": "again"}', '{"word": "d ", "gloss": "two\\n lines"}']  # fmt: skip
    (tmp_path / "g.jsonl").write_text("\n".join(rows))
    pairs, skipped = read_pairs(str(tmp_path / "g.jsonl"), tmp_path)
    assert pairs == [("a", "an article"), ("d", "two lines")]
    assert skipped == {
        "without the texts `word` and `gloss`": ["g.jsonl:2", "g.jsonl:3"],
        "with an empty word or gloss": ["g.jsonl:4"],
        "whose word stood before": ["g.jsonl:5"],
    }
    (tmp_path / "bad.jsonl").write_text('{"word": 1}\n')
    with pytest.raises(UserError, match="bad.jsonl has no row with a word and its gloss: 1 without the texts"):
        read_pairs(str(tmp_path / "bad.jsonl"), tmp_path)


def test_missing_data_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nowhere.jsonl does not exist; give JSON lines of word and gloss"):
        read_pairs(str(tmp_path / "nowhere.jsonl"), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="the dictionary dict-gcide: there is no apt-get here.*or give --data FILE"):
        read_pairs("gcide", tmp_path / "packages")
