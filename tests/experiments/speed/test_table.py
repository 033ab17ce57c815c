"""The result as text."""

from __future__ import annotations

from unmask.experiments.speed import experiment

from .conftest import Run


def test_the_text_holds_the_answer_the_settings_and_the_reference(run: Run) -> None:
    text = experiment.reading(run.result)
    for words in (
        *("no more time, batch 1? ", "no more time, batch 2? ", "gap to arm-equal", "gap in nats a text"),
        *("mdm: 1 settings of fewer rules", "arm-equal is arm-equal-", "no further judge", "a proxy for"),
        *("fine-tuning on one base", "epochs of it: arm ", "true glosses: perplexity", "threshold 0.2"),
        *("bits/byte of the true test gloss", "mdm less arm: ", "mdm-large less arm: ", "the nearest pair is "),
    ):
        assert words in text
