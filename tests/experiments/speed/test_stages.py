"""What is trained on the way: on which text, and with which seeds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from unmask.experiments.frame import Settings
from unmask.experiments.speed.glosses import MADE_SHARE
from unmask.experiments.speed.made import made_glosses
from unmask.experiments.speed.stages import fine_tune, make_bases, packages_of, train_judge
from unmask.experiments.workplace import Workplace
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer
from unmask.scaling.corpus import held_out

from .conftest import SMALL, quick_plan

PLAN = quick_plan(*SMALL)
Place = tuple[Workplace, dict[str, Any]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A workplace that keeps the recipes it is given and trains nothing."""
    given: dict[str, Any] = {}

    def train(self: Workplace, recipes: dict[str, Any]) -> dict[str, Path]:
        given.update(recipes)
        return {name: self.out / "runs" / name for name in recipes}

    monkeypatch.setattr(Workplace, "train", train)
    return Workplace(Settings(tmp_path / "out", seeds=(0, 1), quick=True), {}, "speed"), given


def text_of(folder: Path) -> str:
    return "\n".join(json.loads(line)["text"] for line in (folder / "text.jsonl").read_text().splitlines())


def test_bases_read_no_word_that_is_tested_and_the_judge_no_dictionary(place: Place) -> None:
    work, given = place
    folders = make_bases(PLAN, work)
    assert list(folders) == list(PLAN.bases) and set(given) == {f"base-{role}" for role in PLAN.bases}
    assert {given[f"base-{role}"]["objective"]["kind"] for role in PLAN.bases} == {"mdm", "arm"}
    read = text_of(work.out / "made-text")
    words = {line.partition(", n.:")[0] for line in read.splitlines() if ", n.:" in line}
    aside = {word for word, _ in made_glosses() if held_out([f"word {word.casefold()}"], MADE_SHARE)}
    assert len(aside) > 50 and words == {word for word, _ in made_glosses()} - aside
    train_judge(PLAN, work)
    assert given["judge"]["data"] == str(work.out / "judge-data")
    assert ", n.:" not in text_of(work.out / "judge-text")


def test_every_base_is_tuned_with_every_seed(place: Place, tmp_path: Path) -> None:
    work, given = place
    config = ModelConfig(n_layer=1, n_head=1, n_embd=8, vocab_size=9, block_size=48)
    bases = {role: save(tmp_path / role, Transformer(config, seed=0)) for role in ("arm", "mdm")}
    found = fine_tune(bases, PLAN, work)
    assert list(found) == [("arm", 0), ("arm", 1), ("mdm", 0), ("mdm", 1)]
    for (role, seed), folder in found.items():
        recipe = given[folder.name]
        assert (recipe["init"], recipe["seed"], recipe["context"]) == (str(bases[role]), seed, 48)
        assert (recipe.get("objective") == {"kind": "arm"}) is (role == "arm")


def test_packages_lie_where_the_plan_says_or_beside_the_runs(place: Place) -> None:
    work, _ = place
    assert packages_of(dataclasses.replace(PLAN, packages=""), work) == work.out / "packages"
    assert packages_of(dataclasses.replace(PLAN, packages="there"), work) == Path("there")
