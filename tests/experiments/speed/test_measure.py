"""What a further judge reads, and what a text's arithmetic comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.evaluation.judge import open_judge
from unmask.evaluation.request_store import RequestStore
from unmask.experiments.speed.glosses import MADE_SHARE, split_glosses
from unmask.experiments.speed.made import made_glosses
from unmask.experiments.speed.measure import Ready, decoding_flops, figures_of, further_rows
from unmask.experiments.speed.outcome import SLOW, targets
from unmask.experiments.speed.texts import Shelf
from unmask.model.folder import load

from .conftest import SMALL, quick_plan

PLAN = quick_plan(*SMALL, "further_words=3")


@pytest.fixture
def ready(out: Path) -> Ready:
    judge = open_judge(str(out / "runs" / "judge"))
    seeds = {role: {seed: load(out / "runs" / f"tuned-{role}-s{seed}") for seed in (0, 1)}
             for role in ("arm", "mdm", "mdm-large")}  # fmt: skip
    tokenizer = seeds["arm"][0].tokenizer
    assert tokenizer is not None
    split = split_glosses(made_glosses(), {}, tokenizer, PLAN, MADE_SHARE, 0)
    return Ready(PLAN, Shelf(RequestStore(None, {}), PLAN, judge), seeds, split, judge, {})


def test_a_further_judge_reads_the_settings_chosen_at_each_batch_and_the_arms(
    ready: Ready, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {role: PLAN.settings(role) for role in ready.models}
    none = {target.label: {"setting": None, "why": SLOW} for target in targets(PLAN)}
    own = {"batch 1": "confidence, 3 steps", "batch 2": "confidence, 3 steps", "at_50": "threshold 0.2"}
    chosen = {"mdm": none, "mdm-large": {label: {"setting": name, "why": None} for label, name in own.items()}}
    found = further_rows(ready, kept, chosen, {})
    assert found is not None
    names = [(row["role"], row["setting"]) for row in found["rows"]]
    assert names == [("arm", "ARM"), ("arm", "ARM, top-p 0.9"), ("mdm-large", "confidence, 3 steps")]
    assert (found["texts"], found["words"], found["seeds"]) == (3 * 2 * 3 * 3, 3, 1)
    assert "judge reads 54 texts" in capsys.readouterr().err
    ready.further = None
    assert further_rows(ready, kept, chosen, {}) is None


def test_a_masked_pass_runs_all_positions_and_an_arm_each_once(ready: Ready) -> None:
    prompts = [[1] * 8, [1] * 10]
    assert decoding_flops(ready, {"role": "arm", "passes": 23}, prompts) == 1
    one, six = (decoding_flops(ready, {"role": "mdm", "passes": passes}, prompts) for passes in (1, 6))
    assert 0.5 < one < 1.5 and six == pytest.approx(6 * one)


def test_without_a_setting_or_its_gap_there_are_no_figures() -> None:
    target = targets(PLAN)[0]
    assert figures_of(None, target) == {} and figures_of({"gap": None}, target) == {}
