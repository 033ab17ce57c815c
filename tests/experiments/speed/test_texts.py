"""The texts that models write, and the numbers that come of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from unmask.evaluation.generation_quality import entropy
from unmask.evaluation.judge import open_judge
from unmask.evaluation.request_store import RequestStore
from unmask.experiments.speed import texts
from unmask.experiments.speed.experiment import ANSWERS
from unmask.experiments.speed.glosses import MADE_SHARE, split_glosses
from unmask.experiments.speed.made import made_glosses
from unmask.experiments.speed.texts import Shelf
from unmask.likelihood import score
from unmask.model.folder import load

from .conftest import SMALL, Run, quick_plan

PLAN = quick_plan(*SMALL)


def test_its_numbers_are_those_of_the_texts(run: Run, out: Path) -> None:
    answers = {}
    for line in (out / ANSWERS).read_text().splitlines()[1:]:
        record = json.loads(line)
        answers[record["key"]] = record["answer"]
    written = [a for a in answers.values() if isinstance(a, dict) and "tokens" in a]
    assert {len(row) for found in written for row in found["tokens"]} == {23}, "every text has the same length"
    assert not any(0 in row for found in written for row in found["tokens"]), "and no end within it"
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


def test_several_processes_write_and_read_the_same(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = open_judge(str(out / "runs" / "judge"))
    models = {role: {seed: load(out / "runs" / f"tuned-{role}-s{seed}") for seed in (0, 1)} for role in ("arm", "mdm")}
    tokenizer = models["arm"][0].tokenizer
    assert tokenizer is not None
    words = split_glosses(made_glosses(), {}, tokenizer, PLAN, MADE_SHARE, 0).survey[:3]
    settings = {role: PLAN.settings(role)[:1] for role in models}
    alone, beside = (Shelf(RequestStore(None, {}), PLAN, judge, jobs) for jobs in (1, 2))
    beside.fill(settings, models, words, "survey")
    assert "speed: survey, 24 of 24 groups of 3 texts" in capsys.readouterr().err
    monkeypatch.setattr(texts, "read", None)  # all is there
    theirs = {role: beside.cell(role, models[role], settings[role][0], words) for role in models}
    monkeypatch.undo()
    for role in models:
        ours, passes = alone.cell(role, models[role], settings[role][0], words)
        np.testing.assert_array_equal(ours.nats, theirs[role][0].nats)
        np.testing.assert_array_equal(ours.entropy, theirs[role][0].entropy)
        assert passes == theirs[role][1]
    ours_, theirs_ = alone.nats(models, words), beside.nats(models, words)
    assert ours_["mdm"].shape == (2, 3, 3)
    for role in models:
        np.testing.assert_array_equal(ours_[role], theirs_[role])
    beside.fill(settings, models, words, "survey")  # nothing more to write
    assert "groups" not in capsys.readouterr().err
