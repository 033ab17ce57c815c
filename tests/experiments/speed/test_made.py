"""The made-up dictionary."""

from __future__ import annotations

from unmask.experiments.speed.made import made_glosses, made_prose


def test_the_made_up_dictionary_has_each_word_once_and_no_line_of_prose() -> None:
    glosses = made_glosses()
    assert len({word for word, _ in glosses}) == len(glosses) == len({gloss for _, gloss in glosses}) == 1440
    assert made_glosses() == glosses != made_glosses(seed=1)
    text = "\n".join(made_prose(200))
    assert not any(gloss in text for _, gloss in glosses) and made_prose(24, 1) != made_prose(24, 2)
