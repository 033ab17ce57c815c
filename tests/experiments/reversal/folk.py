"""A few people of our own, their lines and their names."""

from __future__ import annotations

from unmask.experiments.reversal.people import own_people

PEOPLE = own_people(4, 3)
TEXTS = [line.text for line in PEOPLE.lines]
NAMES = sorted({question.person for question in PEOPLE.questions})
