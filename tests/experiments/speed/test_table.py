"""The result as text."""

from __future__ import annotations

from unmask.experiments.speed import experiment

from .conftest import Run


def test_the_text_holds_the_answer_the_settings_and_the_reference(run: Run) -> None:
    text = experiment.reading(run.result)
    for words in ("at no more time? ", "true glosses: perplexity", "threshold 0.2", "bits/byte of the true test gloss",
                  "mdm less arm: ", "mdm-large less arm: ", "the nearest pair is mdm"):  # fmt: skip
        assert words in text
