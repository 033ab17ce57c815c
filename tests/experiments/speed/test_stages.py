"""What is trained on the way: on which text, and with which seeds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.experiments.frame import Settings
from unmask.experiments.speed.bases import candidates
from unmask.experiments.speed.glosses import MADE_SHARE
from unmask.experiments.speed.made import made_glosses
from unmask.experiments.speed.stages import (
    check_trained,
    judge_data,
    make_bases,
    packages_of,
    shorter,
    train_all,
    tune_equal,
)
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
    roles = ["arm", "mdm", "mdm-large", "arm-equal-0", "arm-equal-1"]
    assert list(folders) == roles and set(given) == {f"base-{role}" for role in roles}
    kinds = [given[f"base-{role}"]["objective"]["kind"] for role in roles]
    assert kinds == ["arm", "mdm", "mdm", "arm", "arm"] and given["base-arm-equal-1"]["tokens"] == 20000
    read = text_of(work.out / "made-text")
    words = {line.partition(", n.:")[0] for line in read.splitlines() if ", n.:" in line}
    aside = {word for word, _ in made_glosses() if held_out([f"word {word.casefold()}"], MADE_SHARE)}
    assert len(aside) > 50 and words == {word for word, _ in made_glosses()} - aside
    train_all({}, PLAN, work)
    assert given["judge"]["data"] == str(judge_data(PLAN, work))
    assert ", n.:" not in text_of(work.out / "judge-text")


def test_every_base_is_tuned_with_every_seed(place: Place, tmp_path: Path) -> None:
    work, given = place
    config = ModelConfig(n_layer=1, n_head=1, n_embd=8, vocab_size=9, block_size=48)
    bases = {role: save(tmp_path / role, Transformer(config, seed=0)) for role in ("arm", "mdm", "arm-equal-0")}
    judge, found = train_all(bases, PLAN, work)
    assert list(given)[0] == "judge" and judge == work.out / "runs" / "judge", "trained beside the fine-tuning"
    both = [("arm", 0), ("arm", 1), ("mdm", 0), ("mdm", 1)]
    assert list(found) == [*both, ("arm-equal-0", 0)], "of a candidate the first seed"
    whole = tune_equal(bases["arm-equal-0"], "arm-equal-0", found, PLAN, work)
    names = {key: path.name for key, path in whole.items()}
    assert names == {("arm-equal", 0): "tuned-arm-equal-0-s0", ("arm-equal", 1): "tuned-arm-equal-0-s1"}
    for (role, seed), folder in found.items():
        recipe = given[folder.name]
        assert (recipe["init"], recipe["seed"], recipe["context"]) == (str(bases[role]), seed, 48)
        assert (recipe.get("objective") == {"kind": "arm"}) is (role != "mdm")


def test_a_named_judge_is_not_trained_and_recipes_are_looked_at_before(place: Place) -> None:
    work, given = place
    named = dataclasses.replace(PLAN, judge_run="runs/judge", judge={})
    assert train_all({}, named, work) == (None, {}) and not given
    check_trained(named)
    with pytest.raises(UserError, match="the recipe of judge: flops is 0"):
        check_trained(dataclasses.replace(PLAN, judge={**PLAN.judge, "tokens": 0}))


def test_packages_lie_where_the_plan_says_or_beside_the_runs(place: Place) -> None:
    work, _ = place
    assert packages_of(dataclasses.replace(PLAN, packages=""), work) == work.out / "packages"
    assert packages_of(dataclasses.replace(PLAN, packages="there"), work) == Path("there")


def test_candidates_for_equal_bits_are_fine_tuned_for_epochs_of_their_own() -> None:
    assert shorter("arm-equal-1", PLAN) == {}, "as the others"
    plan = quick_plan("bases.arm-equal.epochs=[0.5, 1.0]")
    found = [shorter(f"arm-equal-{number}", plan) for number in range(4)]
    assert [one["epochs"] for one in found] == [0.5, 1.0, 0.5, 1.0] and found[0]["steps"] == 0
    assert shorter("arm", plan) == shorter("arm-equal", plan) == {}
    paths = candidates(["a", "b"], None, plan.bases["arm-equal"])
    assert [str(path) for path in paths.values()] == ["a", "a", "b", "b"] and list(paths)[3] == "arm-equal-3"
