"""The reversal curse's data (arXiv 2309.12288): lines about people to train on, and questions in both directions.

    people = read_original("reversal_curse")
    people.lines[0].text                  # "NAME, known far and wide for being DESCRIPTION."
    people.questions[0].prompt            # for `answers.py`

Of some people all lines have the name first, of some the description, and of some (`both`) there are lines of either
kind. A question is `trained` where its order is that of the person's lines, `reversed` where it is the other, `both`
of those who have both. The original files have no licence that lets them be passed on: users fetch their own copy.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.data.sft import read_rows
from unmask.errors import UserError

DIRECTIONS, ASKED = ("trained", "reversed", "both"), ("name", "description")
NAME_FIRST, DESCRIPTION_FIRST = "name-first", "description-first"
SOURCE = "github.com/lukasberglund/reversal_curse, the folder june_version_7921032488 of reverse_experiments"
TRAIN = {"p2d_prompts_train": NAME_FIRST, "d2p_prompts_train": DESCRIPTION_FIRST, "both_prompts_train": ""}
TEST = {
    "p2d_prompts_test": ("trained", "description"),
    "d2p_prompts_test": ("trained", "name"),
    "p2d_reverse_prompts_test": ("reversed", "name"),
    "d2p_reverse_prompts_test": ("reversed", "description"),
    "both_prompts_test": ("both", ""),
}
NAME = re.compile(r"(?=\b([A-Z][\w'-]+ [A-Z][\w'-]+))")


@dataclass(frozen=True)
class Line:
    """A sentence to train on. `text` is all of it; `begins` is the part before the answer."""

    person: str
    text: str
    order: str  # NAME_FIRST or DESCRIPTION_FIRST
    begins: str = ""


@dataclass(frozen=True)
class Question:
    """`prompt` goes on with `answer`, a name or a description of `person` (who is called by the name).

    `subject` is the part of the prompt that tells of whom, where that is known.
    """

    person: str
    prompt: str
    answer: str
    direction: str
    asks: str
    subject: str = ""


@dataclass(frozen=True)
class People:
    """Lines and questions of one set."""

    lines: list[Line]
    questions: list[Question]
    skipped: dict[str, list[str]] = field(default_factory=dict)  # reason: rows, such as both_prompts_train.jsonl:17

    def of(self, direction: str, asks: str, each: int | None = None) -> list[Question]:
        """The questions of a kind, of each person the first so many, in the order of the files."""
        seen: Counter[str] = Counter()
        chosen = []
        for question in self.questions:
            if (question.direction, question.asks) == (direction, asks):
                seen[question.person] += 1
                if each is None or seen[question.person] <= each:
                    chosen.append(question)
        return chosen


def read_original(folder: str | Path) -> People:
    """The original study's files. Rows that cannot be used are named in `skipped`.

    Raises `UserError` where a file is missing or has no usable row.
    """
    folder, skipped = Path(folder), dict[str, list[str]]()
    if missing := [name for name in (*TRAIN, *TEST) if not (folder / f"{name}.jsonl").is_file()]:
        raise UserError(
            f"{folder} lacks {missing[0]}.jsonl of the reversal-curse data; get it from {SOURCE}, or leave out --data "
            "for people made here"
        )
    rows = {name: usable(folder / f"{name}.jsonl", skipped) for name in (*TRAIN, *TEST)}
    names = {answer.strip() for kind in ("d2p_prompts_test", "p2d_reverse_prompts_test") for *_, answer in rows[kind]}
    names |= both_names(rows["both_prompts_test"])
    lines, questions = [], []
    for name, order in TRAIN.items():
        for where, prompt, answer in rows[name]:
            if (person := person_in(prompt, names)) is not None:
                lines.append(Line(person, (prompt + answer).strip(), NAME_FIRST, prompt))
            elif (person := person_in(answer, names)) is not None:
                lines.append(Line(person, (prompt + answer).strip(), order or DESCRIPTION_FIRST, prompt))
            else:
                skipped.setdefault("without a known name", []).append(where)
    for name, (direction, asks) in TEST.items():
        for where, prompt, answer in rows[name]:
            named = person_in(prompt, names)
            person = named or person_in(answer, names)
            if person is None:
                skipped.setdefault("without a known name", []).append(where)
                continue
            kind = asks or ("description" if named else "name")
            questions.append(Question(person, prompt, person if kind == "name" else answer.strip(), direction, kind))
    return People(lines, questions, skipped)


def usable(path: Path, skipped: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    """(place, prompt, completion) of every row that has both. Raises `UserError` where none has."""
    rows = []
    for where, record in read_rows(str(path)):
        reason = flaw(record)
        if reason is None:
            rows.append((where, record["prompt"], record["completion"]))
        else:
            skipped.setdefault(reason, []).append(where)
    if not rows:
        raise UserError(f"{path} has no row with a prompt and a completion; get the file again from {SOURCE}")
    return rows


def flaw(record: Any) -> str | None:
    if not isinstance(record, dict):
        return "that are no JSON object"
    for name in ("prompt", "completion"):
        if not isinstance(record.get(name), str):
            return f"without a text '{name}'"
        if not record[name].strip():
            return f"with an empty '{name}'"
    return None


def both_names(rows: list[tuple[str, str, str]]) -> set[str]:
    """Of the people with lines of both kinds: two capitalised words that begin a completion and stand in a prompt of
    another row."""
    begins = {match[1] for *_, answer in rows if (match := NAME.match(answer.strip()))}
    return begins & {name for _, prompt, _ in rows for name in NAME.findall(prompt)}


def person_in(text: str, names: set[str]) -> str | None:
    """The known name in a text."""
    return next((name for name in NAME.findall(text) if name in names), None)


def skipped_in_words(skipped: dict[str, list[str]]) -> str:
    """One line on rows that were left out; empty where there are none."""
    parts = [f"{len(rows)} {why} ({', '.join(rows[:3])}{', ...' if rows[3:] else ''})" for why, rows in skipped.items()]
    return f"skipped {', '.join(parts)}" if parts else ""
