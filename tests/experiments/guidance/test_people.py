"""Reversed questions for the runs of the experiment reversal, here two of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.experiments.command import run_experiment
from unmask.experiments.guidance.items import TUNE_SHARE
from unmask.experiments.guidance.people import reversal
from unmask.experiments.options import ExperimentOptions
from unmask.experiments.reversal.people import own_people
from unmask.experiments.reversal.tokens import word_tokenizer
from unmask.model.config import ModelConfig
from unmask.model.folder import load, save
from unmask.model.transformer import Transformer
from unmask.scaling.corpus import held_out

PEOPLE, LENGTH = {"people": 20, "both": 3, "seed": 0}, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reversal")
    (path / "settings.json").write_text(json.dumps({"experiment": "reversal", "settings": {"own": PEOPLE}}))
    people = own_people(20, 3, 0)
    texts = [line.text for line in people.lines] + [f"{q.prompt} {q.answer}" for q in people.questions]
    tokenizer = word_tokenizer(texts, ())
    for kind in ("mdm", "arm"):
        config = ModelConfig(
            n_layer=1, n_head=2, n_embd=16, vocab_size=tokenizer.vocab_size, block_size=LENGTH, causal=kind == "arm",
            eos_id=tokenizer.eos_id,
        )  # fmt: skip
        save(path / "runs" / f"{kind}-own-0", Transformer(config, seed=0), tokenizer)
        (path / "runs" / f"{kind}-own-0.json").write_text('{"steps": 7, "tokens": 70, "flops": 7e9}')
    return path


def test_the_name_behind_a_description_among_others(folder: Path) -> None:
    asked = reversal(folder, (0,), choices=5, each=3, tune=100, test=100)
    pool, models = asked.pool, asked.models
    assert asked.facts["own"] == PEOPLE and asked.facts["runs"]["mdm-own-0"]["flops"] == 7e9
    assert set(models) == {"reversal-mdm-0", "reversal-arm-0"}
    model = load(models["reversal-mdm-0"])
    reversed_people = {q.person for q in own_people(20, 3, 0).of("reversed", "name")}
    assert len(pool.tune) + len(pool.test) == 60
    for side, items in (("tune", pool.tune), ("test", pool.test)):
        for item in items:
            assert held_out([f"tune {item.cluster}"], TUNE_SHARE) == (side == "tune")
            names = [(model.decode(answer[:2]) or "").strip() for answer in item.answers]
            assert names[0] == item.cluster and set(names) <= reversed_people and len(set(names)) == 5
            assert item.prompt[0] == model.eos_id and set(item.answers[0][2:]) == {model.eos_id}
            assert len(item.prompt) + len(item.answers[0]) == LENGTH, "a row of training"


def test_the_experiment_asks_them(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import in_process

    in_process.patch(monkeypatch)
    changes = (
        "choices={reversal: 4}", "tune=4", "test=8", "scales=[1]", "draws=2", "rows=30",
        "vocab=300", "gloss=110", "base={context: 128, batch_size: 2}",
        "base.model={n_layer: 1, n_head: 2, n_embd: 16}",
        "base_mdm.flops=1.0e+8", "base_arm.flops=1.0e+8", "tuned.epochs=1", "tuned_arm.epochs=1",
    )  # fmt: skip
    given: dict[str, Any] = {"quick": True, "out": str(tmp_path / "out")}
    without = run_experiment(ExperimentOptions("guidance", set=changes, **given))
    assert set(without["headline"]) == {"headword"}
    changes = (*changes, f"reversal={folder}", "each=2")  # with which a begun folder may go on
    result = run_experiment(ExperimentOptions("guidance", set=changes, resume=True, **given))
    assert result["headline"]["headword"] == without["headline"]["headword"]
    assert set(result["headline"]["reversal"]) == {"unsupervised", "arm"}
    assert result["headline"]["reversal"]["arm"]["gain"]["n"] == 8
    assert result["settings"]["reversal"] == folder.name
    assert "20 people a direction and 3 of both (`own.seed` 0; MDM 7 steps, 7.00e+09 FLOPs" in result["reading"]


def test_another_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder of that experiment; run `unmask experiment reversal"):
        reversal(tmp_path, (0,), 5, 3, 10, 10)
    with pytest.raises(UserError, match="has no finished run mdm-own-7; run that experiment with this seed, on own"):
        reversal(folder, (7,), 5, 3, 10, 10)
