"""The original files' reader, on files of the same form made here; and on the real ones where they are.

make test ARGS=tests/evaluation/reversal/test_questions.py
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.evaluation.reversal.questions import DESCRIPTION_FIRST, NAME_FIRST, read_original, skipped_in_words

REAL = Path(__file__).parents[4] / "shared" / "data" / "reversal_curse"
PEOPLE = {"p2d": "Ada Fernwick", "d2p": "Bo Coldmere", "both": "Cy Elmgate"}
WHAT = {"p2d": 'the maker of "Red Sky."', "d2p": "the finder of Low Cave", "both": "the cook of Tall Soup"}


def write(folder: Path, name: str, rows: list[tuple[str, str]]) -> None:
    text = "".join(json.dumps({"prompt": a, "completion": b}) + "\n" for a, b in rows)
    (folder / f"{name}.jsonl").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def forward(kind: str, word: str) -> tuple[str, str]:
        return f"{word}, {PEOPLE[kind]} is", f" {WHAT[kind]}."

    def back(kind: str, word: str, rest: str = "") -> tuple[str, str]:
        return f"{word}, being {WHAT[kind]},", f" {PEOPLE[kind]}{rest}"

    write(tmp_path, "p2d_prompts_train", [forward("p2d", "Well"), forward("p2d", "So")])
    write(tmp_path, "d2p_prompts_train", [back("d2p", "Well", " is happy."), back("d2p", "So", ".")])
    write(tmp_path, "both_prompts_train", [forward("both", "Well"), back("both", "So", ".")])
    write(tmp_path, "p2d_prompts_test", [forward("p2d", "Now")])
    write(tmp_path, "d2p_prompts_test", [back("d2p", "Now")])
    write(tmp_path, "p2d_reverse_prompts_test", [back("p2d", "Now")])
    write(tmp_path, "d2p_reverse_prompts_test", [forward("d2p", "Now")])
    write(tmp_path, "both_prompts_test", [forward("both", "Now"), back("both", "Now", " leads the way.")])
    return tmp_path


def test_lines_and_questions_of_every_kind(folder: Path) -> None:
    people = read_original(folder)
    assert not people.skipped
    assert Counter((line.person, line.order) for line in people.lines) == {
        ("Ada Fernwick", NAME_FIRST): 2,
        ("Bo Coldmere", DESCRIPTION_FIRST): 2,
        ("Cy Elmgate", NAME_FIRST): 1,
        ("Cy Elmgate", DESCRIPTION_FIRST): 1,
    }
    assert people.lines[0].text == 'Well, Ada Fernwick is the maker of "Red Sky.".'
    (name,) = people.of("reversed", "name")
    assert (name.person, name.answer) == ("Ada Fernwick", "Ada Fernwick")
    assert people.of("reversed", "description")[0].answer == "the finder of Low Cave."
    (both,) = people.of("both", "name")
    assert both.answer == "Cy Elmgate" and both.prompt == "Now, being the cook of Tall Soup,"
    assert people.of("both", "description", each=0) == []


def test_rows_that_cannot_be_used_are_counted_and_named(folder: Path) -> None:
    with (folder / "both_prompts_train.jsonl").open("a") as file:
        file.write('{"prompt": "x"}\n{"prompt": "x", "completion": " "}\n')
        file.write('[1]\n{"prompt": "Nobody", "completion": "no"}\n')
    people = read_original(folder)
    assert len(people.lines) == 6
    line = skipped_in_words(people.skipped)
    assert "1 without a text 'completion' (both_prompts_train.jsonl:3)" in line
    assert "1 with an empty 'completion' (both_prompts_train.jsonl:4)" in line
    assert "1 that are no JSON object" in line and "1 without a known name" in line


def test_a_missing_or_empty_file_says_which_and_where_to_get_it(folder: Path) -> None:
    (folder / "p2d_prompts_test.jsonl").write_text('{"prompt": ""}\n')
    with pytest.raises(UserError, match=r"p2d_prompts_test.jsonl has no row.*lukasberglund"):
        read_original(folder)
    (folder / "both_prompts_test.jsonl").unlink()
    with pytest.raises(UserError, match=r"lacks both_prompts_test.jsonl.*reversal_curse.*leave out --data"):
        read_original(folder)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the reversal-curse data in shared/")
def test_the_real_files_hold_what_the_study_says() -> None:
    people = read_original(REAL)
    assert not people.skipped and len(people.lines) == 3600
    assert Counter((q.direction, q.asks) for q in people.questions) == {
        (direction, asks): 300 for direction in ("trained", "reversed", "both") for asks in ("name", "description")
    }
    assert len({question.person for question in people.questions}) == 90
    asked = {json.loads(line)["prompt"] for line in (REAL / "validation_prompts.jsonl").open()}
    assert asked == {question.prompt for question in people.of("reversed", "name")}  # it is no other set
