"""People of our own with the structure of the reversal-curse data, from word lists of our own (own.yaml).

    people = own_people(people=300, both=300, seed=0)

Of `people` persons all lines have the name first, of as many the description, and of `both` persons there are lines of
either kind. 30 lines a person and order, 10 questions in other words. The same seed gives the same people.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.evaluation.reversal.questions import DESCRIPTION_FIRST, NAME_FIRST, Line, People, Question
from unmask.settings import read_yaml

WORDS = Path(__file__).with_name("own.yaml")


@dataclass(frozen=True)
class Person:
    """A name and a description in three forms: with a noun, a verb in the past, a gerund."""

    name: str
    noun: str
    verb: str
    gerund: str

    def fill(self, sentence: str) -> str:
        return sentence.format(name=self.name, noun=self.noun, verb=self.verb, gerund=self.gerund)


@cache
def words() -> dict[str, Any]:
    lists: dict[str, Any] = read_yaml(WORDS)
    return lists


def joined(parts: dict[str, list[str]]) -> list[str]:
    return [head + tail for head, tail in itertools.product(parts["head"], parts["tail"])]


def own_people(people: int, both: int, seed: int = 0) -> People:
    """Raises `UserError` for more people than there are names."""
    count = 2 * people + both
    persons = made(count, random.Random(seed))
    lines: list[Line] = []
    questions: list[Question] = []
    groups = [(persons[:people], [NAME_FIRST]), (persons[people : 2 * people], [DESCRIPTION_FIRST])]
    for group, orders in [*groups, (persons[2 * people :], [NAME_FIRST, DESCRIPTION_FIRST])]:
        for person in group:
            for order in (NAME_FIRST, DESCRIPTION_FIRST):
                direction = "both" if len(orders) > 1 else "trained" if order in orders else "reversed"
                lines += lines_of(person, order) if order in orders else []
                questions += questions_of(person, order, direction)
    return People(lines, questions)


def made(count: int, chance: random.Random) -> list[Person]:
    """So many persons; no name and no description twice."""
    lists = words()
    first, last, place = (joined(lists[name]) for name in ("first", "last", "place"))
    if count < 3 or count > len(first) * 4:
        raise UserError(f"people and both make {count} persons; give 3 to {len(first) * 4}")
    names: dict[str, None] = {}
    things: dict[tuple[str, str, str], None] = {}
    while len(names) < count:
        names[f"{chance.choice(first)} {chance.choice(last)}"] = None
    while len(things) < count:
        things[chance.choice(lists["quality"]), chance.choice(lists["thing"]), chance.choice(place)] = None
    people = []
    for name, (quality, thing, where) in zip(names, things, strict=True):
        noun, verb, gerund = chance.choice(lists["role"])
        what = f"the {quality} {thing} of {where}"
        people.append(Person(name, f"the {chance.choice(lists['manner'])} {noun} {what}", f"{verb} {what}",
                            f"{gerund} {what}"))  # fmt: skip
    return people


def parts_of(person: Person, order: str, which: str) -> list[tuple[str, str]]:
    """(what comes before the answer, the answer with the rest) of each sentence, `train` or `test`."""
    group = words()["name_first" if order == NAME_FIRST else "description_first"]
    parts = []
    for opening, sentence in itertools.product(group[which], group["sentences"]):
        before, _, after = sentence.partition("|")
        prompt = f"{opening} {person.fill(before)}".strip()
        parts.append((prompt[0].upper() + prompt[1:], person.fill(after)))
    return parts


def subject_of(person: Person, sentence: str) -> str:
    """What the part before the answer says of whom it is about."""
    before = sentence.partition("|")[0]
    return next(getattr(person, name) for name in ("name", "noun", "verb", "gerund") if f"{{{name}}}" in before)


def lines_of(person: Person, order: str) -> list[Line]:
    return [Line(person.name, f"{a} {b}", order, a) for a, b in parts_of(person, order, "train")]


def questions_of(person: Person, order: str, direction: str) -> list[Question]:
    asks = "description" if order == NAME_FIRST else "name"
    group = words()["name_first" if order == NAME_FIRST else "description_first"]
    sentences = [sentence for _, sentence in itertools.product(group["test"], group["sentences"])]
    return [
        Question(person.name, a, person.name if asks == "name" else b, direction, asks, subject_of(person, sentence))
        for (a, b), sentence in zip(parts_of(person, order, "test"), sentences, strict=True)
    ]


def without_description_first(people: People) -> People:
    """The control in which no line of anyone has the description first.

    People without other lines are left out. Of who had both kinds, what asks for a name is then `reversed`, and what
    asks for a description `trained`.
    """
    lines = [line for line in people.lines if line.order == NAME_FIRST]
    known = {line.person for line in lines}
    directions = {"name": "reversed", "description": "trained"}
    questions = [replace(q, direction=directions[q.asks]) for q in people.questions if q.person in known]
    return People(lines, questions, people.skipped)
