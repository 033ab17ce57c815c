"""The whole experiment made very small: what its result holds, and that it goes on after a stop."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.experiments import workplace
from unmask.experiments.command import check_headline
from unmask.experiments.frame import Settings, figures
from unmask.experiments.speed import experiment
from unmask.experiments.speed.experiment import ANSWERS
from unmask.experiments.speed.outcome import SLOW

from .conftest import Run


def test_the_result_holds_what_is_asked(run: Run) -> None:
    result = json.loads(json.dumps(run.result))
    assert result["answer"] in ("yes", "no") and isinstance(result["decided"], bool)
    assert set(result["headline"]) == {"mdm", "mdm-large"}
    for found in figures(result["headline"]).values():
        assert set(found) == {"estimate", "low", "high", "n", "clusters"}
        assert found["low"] <= found["estimate"] <= found["high"]
    large = result["headline"]["mdm-large"]
    assert set(large) >= {"area", "gap", "gap_common", "gap_per_text", "gap_over_templates", "time", "batch_2"}
    assert set(large) >= {"gap_at_50", "gap_at_equal_bits", "equal_bits_difference"} and "gap" in large["batch_2"]
    assert set(result["answers"]) == {"batch 1", "batch 2"} and set(result["chosen"]["mdm"]) == {
        "batch 1", "batch 2", "at_50"
    }  # fmt: skip
    names = {(row["role"], row["setting"]) for row in result["survey"]}
    each = [("mdm", "confidence, 3 steps"), ("mdm-large", "confidence, 3 steps"), ("mdm-large", "threshold 0.2")]
    assert names == {("arm", "ARM"), ("arm", "ARM, top-p 0.9"), *each}, "fewer rules for the small budget"
    assert result["settings_tried"] == {"arm": 2, "mdm": 1, "mdm-large": 2}
    for row in result["survey"]:
        assert row["time"]["1"]["median"] > 0 and len(row["points"]) == 2
        assert row["passes"] == (23 if row["role"] == "arm" else 3) or row["setting"] == "threshold 0.2"
        assert row["tokens_per_pass"] == pytest.approx(23 / row["passes"])
    assert {row["role"] for row in result["test"]} == {"arm", "mdm", "mdm-large", "arm-equal"}
    assert all(row["flops"] > 0 for row in result["test"]) and len(result["load"]["1"]) == 1
    assert "self_bleu" in result["test"][0]["texts"]
    for seeds in result["reference"]["likelihood"].values():
        assert len(seeds) == 2 and all(set(found) == {"colon", "define", "question"} for found in seeds)
    others = {(pair["role"], pair["against"]) for pair in result["matched"]}
    assert others == {("mdm", "arm"), ("mdm-large", "arm"), ("mdm-large", "arm-equal")}
    for pair in result["matched"]:  # the difference that it states is that of the likelihoods
        rates = {role: [one[t]["value"] for one in result["reference"]["likelihood"][role] for t in one]
                 for role in (pair["against"], pair["role"])}  # fmt: skip
        apart = sum(rates[pair["role"]]) / 6 - sum(rates[pair["against"]]) / 6
        assert pair["difference"]["estimate"] == pytest.approx(apart, abs=1e-9) and pair["flops_ratio"] > 0
    assert result["bases"]["mdm-large"]["flops"] > result["bases"]["mdm"]["flops"] > 0
    assert [len(facts) for facts in result["fine_tuning"].values()] == [2, 2, 2, 2]
    equal = result["equal"]
    assert set(equal["bits"]) == {"arm-equal-0", "arm-equal-1", "mdm-large"} and equal["chosen"] in equal["bits"]
    tuned = {path.name for path in (run.settings.out / "runs").glob("tuned-arm-equal-*") if path.is_dir()}
    assert tuned == {"tuned-arm-equal-0-s0", "tuned-arm-equal-1-s0", f"tuned-{equal['chosen']}-s1"}
    assert "packages" not in result["settings"], "where packages lie decides nothing"
    assert result["bases"]["arm"]["held_out_text"] == "not in its training tokens"


def test_a_stopped_experiment_goes_on_with_the_same_result(
    run: Run, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(out, tmp_path / "run")
    for path in [*(tmp_path / "run").rglob("recipe.yaml"), *(tmp_path / "run").rglob("manifest.json")]:
        path.write_text(path.read_text().replace(str(out), str(tmp_path / "run")))
    lines = (out / ANSWERS).read_text().splitlines(keepends=True)
    (tmp_path / "run" / ANSWERS).write_text("".join(lines[: len(lines) // 2]) + lines[-1][:20])

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("what is trained is not trained again")

    monkeypatch.setattr(workplace, "run_together", never)
    settings = dataclasses.replace(run.settings, out=tmp_path / "run")
    with pytest.raises(UserError, match="add --resume"):
        experiment.run(settings)
    again = experiment.run(dataclasses.replace(settings, resume=True))
    for name in ("headline", "survey", "test", "reference", "matched"):
        now, then = (json.loads(json.dumps(found[name])) for found in (again, run.result))
        for found in (now, then):
            for row in found if isinstance(found, list) else found.values():
                row.pop("time", None)  # a round that was lost is timed anew
        assert now == then
    assert (tmp_path / "run" / ANSWERS).read_text().count("\n") == len(lines)

    # Another window needs no other text.
    wider = dataclasses.replace(settings, resume=True, changes=(*settings.changes, "window=[-3.0, 0.02]"))
    other = experiment.run(wider)
    assert other["settings"]["window"] == [-3.0, 0.02] and other["window"]["low"] < again["window"]["low"]
    assert {row["window_reached"] for row in other["survey"] if "gap" in row} != {
        row["window_reached"] for row in again["survey"] if "gap" in row
    }


def test_what_the_frame_asks_for(run: Run) -> None:
    result = run.result
    check_headline({"experiment": "speed", **result})
    masked = [row for row in result["survey"] if "beaten" in row]
    assert f"of the {2 * len(masked)} points of masked models" in experiment.reading(result)
    assert experiment.holds(result).startswith(result["answer"] + ": ") and "mdm-large (" in experiment.figure(result)
    assert str(run.settings.out) not in json.dumps(result), "no path of this machine"


def test_a_result_in_which_nothing_could_be_chosen(run: Run) -> None:
    none = {role: {label: {"setting": None, "why": SLOW} for label in by} for role, by in run.result["chosen"].items()}
    bare = {**run.result, "chosen": none}
    bare["headline"] = {role: {"area": found["area"]} for role, found in run.result["headline"].items()}
    bare["answers"] = {"batch 1": {"answer": "no", "decided": True}}
    assert experiment.figure(bare).count("bits/byte): all take longer") == 2
    assert experiment.holds(bare) == "no: all settings take longer"
    bare["chosen"] = {**none, "mdm": {"batch 1": {"setting": "x", "why": None}}}
    words = "no: the setting chosen for each model lies above, or takes longer (mdm-large)"
    assert experiment.holds(bare) == words
    assert experiment.holds({**bare, "answers": {"batch 1": {"answer": "no", "decided": False}}}).endswith("either way")


def test_bad_input_before_any_work(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--base arm=RUN is missing"):
        experiment.run(Settings(tmp_path / "a"))
    mdm = run.settings.out / "runs" / "base-mdm"
    with pytest.raises(UserError, match="--base arm=.* is a masked diffusion model"):
        experiment.run(Settings(tmp_path / "b", base=(f"arm={mdm}", f"mdm={mdm}", f"mdm-large={mdm}")))
    with pytest.raises(UserError, match="judge .*base-mdm is no autoregressive model"):
        experiment.run(Settings(tmp_path / "c", quick=True, changes=(f"further_judge={mdm}",)))
    for change, words in (("judge.optimizer={lr: -1}", "the recipe of judge: optimizer.lr is -1"),
                          ("judge.model={n_head: 3}", "the recipe of judge: "),
                          ("finetune.batch_size=0", "the recipe of fine-tuning of arm: batch_size is 0")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            experiment.run(Settings(tmp_path / "d", quick=True, changes=(change,)))
    assert not list(tmp_path.iterdir())
