"""The whole experiment made very small: what its result holds, that it goes on after a stop, its picture and table."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.errors import UserError
from unmask.evaluation.generation_quality import entropy
from unmask.evaluation.stages import Stopped
from unmask.experiments.speed import experiment, stages
from unmask.experiments.speed.experiment import ANSWERS, SpeedOptions, in_words, speed
from unmask.experiments.speed.plan import read_plan
from unmask.experiments.speed.plot import plot
from unmask.experiments.speed.stages import trained
from unmask.likelihood import score
from unmask.model.folder import load

from .conftest import SMALL, Run


def test_the_result_holds_what_is_asked(run: Run) -> None:
    result = json.loads(json.dumps(run.result))
    assert result["quick"] and result["answer"] in ("yes", "no") and isinstance(result["decided"], bool)
    assert set(result["headline"]) == {"mdm", "mdm-large"}
    for found in result["headline"].values():
        for name, value in found.items():
            assert value is None and name == "gap" or set(value) == {"estimate", "low", "high", "n", "clusters"}
    names = {(row["role"], row["setting"]) for row in result["survey"]}
    each = ("confidence, 2 steps", "threshold 0.2")
    assert names == {("arm", "ARM"), *((role, name) for role in ("mdm", "mdm-large") for name in each)}
    for row in result["survey"]:
        assert row["time"]["1"]["median"] > 0 and len(row["points"]) == 2
        assert row["passes"] == (16 if row["role"] == "arm" else 2) or row["setting"] == "threshold 0.2"
        assert row["tokens_per_pass"] == pytest.approx(16 / row["passes"])
    assert {row["role"] for row in result["test"]} >= {"arm"} and "self_bleu" in result["test"][0]["texts"]
    for seeds in result["reference"]["likelihood"].values():
        assert len(seeds) == 2 and all(set(found) == {"colon", "define", "question"} for found in seeds)
    assert result["bases"]["mdm-large"]["flops"] > result["bases"]["mdm"]["flops"] > 0
    assert [len(facts) for facts in result["fine_tuning"].values()] == [2, 2, 2]
    assert result["bases"]["arm"]["held_out_text"] == "not in its training tokens"


def test_its_numbers_are_those_of_the_texts(run: Run, out: Path) -> None:
    answers = {}
    for line in (out / ANSWERS).read_text().splitlines()[1:]:
        record = json.loads(line)
        answers[record["key"]] = record["answer"]
    texts = [a for a in answers.values() if isinstance(a, dict) and "tokens" in a]
    assert {len(row) for found in texts for row in found["tokens"]} == {16}, "every text has the same length"
    arm, row = load(out / "fine-tuned" / "arm-s0"), run.result["survey"][0]
    plan, lines = read_plan(True, SMALL), (out / "glosses" / "test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert row["role"] == "arm" and all(0 < p["entropy"] <= math.log(16) for p in row["points"])
    assert row["points"][0]["entropy"] < row["points"][1]["entropy"], "a higher temperature, more entropy"
    pairs = [(r["prompt"], r["completion"]) for r in rows if r["prompt"].endswith(":") and "\n" not in r["prompt"]]
    assert len(pairs) == plan.test_words
    bits = -sum(s.logprob for s in score(arm, pairs)) / sum(len(text.encode()) for _, text in pairs) / math.log(2)
    assert run.result["reference"]["likelihood"]["arm"][0]["colon"]["value"] == pytest.approx(bits)
    real = np.mean([entropy(arm.tokenizer.encode(text)) for _, text in pairs])  # type: ignore[union-attr]
    assert run.result["reference"]["test"]["entropy"] == pytest.approx(real)


def test_a_stopped_experiment_goes_on_with_the_same_result(
    run: Run, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(out, tmp_path / "run")
    for path in (tmp_path / "run").rglob("recipe.yaml"):
        path.write_text(path.read_text().replace(str(out), str(tmp_path / "run")))
    lines = (out / ANSWERS).read_text().splitlines(keepends=True)
    (tmp_path / "run" / ANSWERS).write_text("".join(lines[: len(lines) // 2]) + lines[-1][:20])

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("what is trained is not trained again")

    monkeypatch.setattr(stages, "train", never)
    again = speed(SpeedOptions(out=str(tmp_path / "run"), quick=True, changes=SMALL))
    for name in ("headline", "survey", "test", "reference"):
        now, then = (json.loads(json.dumps(found[name])) for found in (again, run.result))
        for found in (now, then):
            for row in found if isinstance(found, list) else found.values():
                row.pop("time", None)  # a round that was lost is timed anew
        assert now == then
    assert (tmp_path / "run" / ANSWERS).read_text().count("\n") == len(lines)


def test_a_signal_while_training_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Result:
        signal = 15

    monkeypatch.setattr(stages, "train", lambda recipe, resume: Result())
    with pytest.raises(Stopped) as caught:
        trained(tmp_path / "run", {"data": "x", "steps": 1})
    assert caught.value.number == 15 and not (tmp_path / "run" / "done.json").exists()


def test_another_plan_does_not_mix_with_what_is_there(run: Run) -> None:
    changed = SpeedOptions(out=run.options.out, quick=True, changes={**SMALL, "draws": 3})
    with pytest.raises(UserError, match="answers.jsonl holds results of another protocol, protocol.plan.draws: 2 and"):
        speed(changed)


def test_table_and_picture(run: Run, tmp_path: Path) -> None:
    text = in_words(run.result)
    for words in ("at no more time? ", "true glosses: perplexity", "threshold 0.2", "bits/byte of the true test gloss"):
        assert words in text
    plot(run.result, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 20_000


def test_bad_input_before_any_work(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--base-arm is missing"):
        speed(SpeedOptions(out=str(tmp_path / "a")))
    with pytest.raises(UserError, match="seeds is 0"):
        speed(SpeedOptions(out=str(tmp_path / "b"), quick=True, seeds=0))
    bases = {name: str(Path(run.options.out, "bases", "mdm")) for name in ("base_arm", "base_mdm", "base_mdm_large")}
    with pytest.raises(UserError, match="--base-arm .* is a masked diffusion model"):
        speed(SpeedOptions(out=str(tmp_path / "c"), **bases))
    assert experiment.SpeedOptions(out="x").plan.seeds == 3
