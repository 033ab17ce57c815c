"""What `unmask train` and `unmask plan` take: the recipe's keys stand anywhere, each once."""

from __future__ import annotations

import dataclasses

import pytest

from unmask.errors import UserError
from unmask.training.options import PlanOptions, TrainOptions, pairs, parted, recipe_keys
from unmask.training.recipe import kinds
from unmask.training.recipe_fields import Recipe


@pytest.mark.parametrize(
    "words",
    [
        ["demo-mdm", "--steps", "3", "--resume", "--lora={rank: 4, alpha: 8}", "--lr", "-1", "--json"],
        ["--steps", "3", "--json", "--lora={rank: 4, alpha: 8}", "--lr", "-1", "demo-mdm", "--resume"],
        ["--resume", "--steps", "3", "demo-mdm", "--lora={rank: 4, alpha: 8}", "--json", "--lr", "-1"],
    ],
)
def test_keys_of_the_recipe_stand_anywhere(words: list[str]) -> None:
    known, keys = parted(words, ["--json", "--resume"])
    assert sorted(known) == ["--json", "--resume", "demo-mdm"]
    assert pairs(keys) == {"steps": "3", "lora": "{rank: 4, alpha: 8}", "lr": "-1"}
    options, as_json = TrainOptions.from_words(words, "unmask train")
    assert as_json and options == TrainOptions("demo-mdm", resume=True, keys=pairs(keys))


def test_keys_as_pairs() -> None:
    given = pairs(["--model.n_layer", "4", "--steps=10", "--lr", "-1"])
    assert given == {"model.n_layer": "4", "steps": "10", "lr": "-1"}
    with pytest.raises(UserError, match="--steps is given twice, as 3 and as 4; leave out one"):
        pairs(["--steps", "3", "--seed", "1", "--steps=4"])
    with pytest.raises(UserError, match="--steps has no value"):
        pairs(["--steps", "--seed", "1"])
    with pytest.raises(UserError, match="unknown argument stray"):
        pairs(["stray"])
    with pytest.raises(UserError, match="--steps has no value"):
        pairs(["--steps"])


def test_help_lists_every_key_of_a_recipe_with_its_default() -> None:
    told = {name: words for name, words, _ in recipe_keys()}
    assert set(told) == {name for name in kinds(Recipe) if not name.startswith("sft.strings.")}
    helped = TrainOptions.epilog()
    assert "  --optimizer.beta2  of AdamW (default: 0.95)\n" in helped and "compiled steps (default: false)" in helped
    assert all(f"  --{name}  {words} (default: " in helped for name, words in told.items())


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"kind": "amr"}, r"--kind is 'amr' \(did you mean 'arm'\?\); give one of mdm, arm"),
        ({"efficiency": 0.0}, "--efficiency is 0.0; give a number above 0 and at most 1"),
        ({"gpus": 4, "shard": 3}, "--shard 3 does not divide --gpus 4"),
        ({"gpus": 3}, "--batch 256 does not divide by --gpus 3"),
    ],
)
def test_what_could_not_run_is_refused(fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        PlanOptions("6M", tokens=1e9, **fields)  # type: ignore[arg-type]


def test_every_field_of_a_recipe_is_declared_or_a_group() -> None:
    for one in dataclasses.fields(Recipe):
        group = one.name in ("model", "objective", "optimizer", "validation", "checkpoint", "parallel", "sft", "lora")
        assert group or "option" in one.metadata, one.name
