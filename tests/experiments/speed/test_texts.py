"""The texts that models write, and the numbers that come of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from unmask.evaluation.generation_quality import entropy
from unmask.experiments.speed.experiment import ANSWERS
from unmask.likelihood import score
from unmask.model.folder import load

from .conftest import SMALL, Run, quick_plan


def test_its_numbers_are_those_of_the_texts(run: Run, out: Path) -> None:
    answers = {}
    for line in (out / ANSWERS).read_text().splitlines()[1:]:
        record = json.loads(line)
        answers[record["key"]] = record["answer"]
    texts = [a for a in answers.values() if isinstance(a, dict) and "tokens" in a]
    assert {len(row) for found in texts for row in found["tokens"]} == {23}, "every text has the same length"
    assert not any(0 in row for found in texts for row in found["tokens"]), "and no end within it"
    arm, row = load(out / "runs" / "tuned-arm-s0"), run.result["survey"][0]
    plan, lines = quick_plan(*SMALL), (out / "glosses" / "test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert row["role"] == "arm" and all(0 < p["entropy"] <= math.log(23) for p in row["points"])
    assert row["points"][0]["entropy"] < row["points"][1]["entropy"], "a higher temperature, more entropy"
    pairs = [(r["prompt"], r["completion"]) for r in rows if r["prompt"].endswith(":") and "\n" not in r["prompt"]]
    assert len(pairs) == plan.test_words
    bits = -sum(s.logprob for s in score(arm, pairs)) / sum(len(text.encode()) for _, text in pairs) / math.log(2)
    assert run.result["reference"]["likelihood"]["arm"][0]["colon"]["value"] == pytest.approx(bits)
    real = np.mean([entropy(arm.tokenizer.encode(text)) for _, text in pairs])  # type: ignore[union-attr]
    assert run.result["reference"]["test"]["entropy"] == pytest.approx(real)
