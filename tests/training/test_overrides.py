"""Recipe keys of the command line: what their words mean, and which do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.training.overrides import apply, load_recipe, parsed


def test_words_are_what_the_key_takes() -> None:
    words = {
        "data": "2024", "out": "yes", "init": "null", "wandb": "off", "flops": "1e13", "compile": "true",
        "batch-size": "8", "lora": "{rank: 4}", "sft.strings.user": '"{content}\\n"', "model.size": "6M",
    }  # fmt: skip
    assert parsed(words) == {
        "data": "2024", "out": "yes", "init": None, "wandb": "off", "flops": "1e13", "compile": True,
        "batch_size": 8, "lora": {"rank": 4}, "sft.strings.user": "{content}\n", "model.size": "6M",
    }  # fmt: skip


def test_a_budget_replaces_the_files_and_null_takes_one_away() -> None:
    file = {"flops": 1e13, "seed": 1}
    assert apply(file, parsed({"steps": "3"})) == {"steps": 3, "seed": 1}
    assert apply(file, parsed({"flops": "null", "steps": "3"})) == {"flops": None, "steps": 3, "seed": 1}
    assert apply(file, parsed({"seed": "2"})) == {"flops": 1e13, "seed": 2}
    assert file == {"flops": 1e13, "seed": 1}


def test_a_group_that_is_off_is_put_on_by_its_key() -> None:
    assert apply({"lora": None}, {"lora.rank": 4}) == {"lora": {"rank": 4}}
    with pytest.raises(UserError, match="--model.n_layer: model is not a group of settings"):
        apply({"model": 3}, {"model.n_layer": 4})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"batch-size": "8", "batch_size": "4"}, "--batch_size is given twice"),
        ({"model": "{n_layer: 1}", "model.n_layer": "2"}, "--model and --model.n_layer are both given"),
        ({"model.n_layer": "2", "model": "{n_layer: 1}"}, "--model.n_layer and --model are both given"),
        ({"steps": "0"}, "steps is 0; give at least 1"),
        ({"steps": "-3"}, "steps is -3; give at least 1"),
        ({"tokens": "0.0"}, "tokens is 0; give at least 1"),
        ({"tokens": "0.5"}, "tokens is 0.5; give at least 1"),
        ({"flops": "0"}, "flops is 0; give at least 1"),
        ({"epochs": "0"}, "epochs is 0; give more than 0"),
        ({"steps": ""}, "--steps has no value"),
        ({"optimizer": "{lr: 1, lr: 2}"}, "lr is given twice, in line 1"),
        ({"lora": "[" * 5000}, "nests too deeply"),
        ({"model.n_layer": "["}, "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_one_line(words: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parsed(words)
    assert "\n" not in str(caught.value)


def test_the_command_line_is_looked_at_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("steps: 20\nsteps: 3\n")
    for changes, message in (({"steps": "0"}, "steps is 0; give at least 1"), ({}, "steps is given twice, in lines 1")):
        with pytest.raises(UserError, match=message):
            load_recipe(tmp_path / "twice.yaml", changes)


def test_two_budgets_on_the_command_line_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("data: d\nout: o\nflops: 1e9\n")
    with pytest.raises(UserError, match="exactly one of steps, tokens, flops and epochs, not steps and tokens"):
        load_recipe(tmp_path / "x.yaml", {"tokens": "9", "steps": "3"})


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ({"lr": "1"}, "lr is not a recipe key; lr is optimizer.lr"),
        ({"n_layer": "1"}, "n_layer is not a recipe key; n_layer is model.n_layer"),
        ({"rank": "1"}, "rank is not a recipe key; rank is lora.rank"),
        ({"every": "1"}, r"every is not a recipe key; did you mean validation.every or checkpoint.every\?"),
        ({"warmpu": "1"}, r"did you mean optimizer.warmup\?"),
        ({"model.lr": "1"}, "model.lr is not a recipe key of model; lr is optimizer.lr"),
        ({"optimiser.lr": "1"}, r"optimiser is not a recipe key \(did you mean 'optimizer'\?\)"),
    ],
)
def test_a_key_of_another_group_is_named(tmp_path: Path, words: dict[str, str], key: str) -> None:
    (tmp_path / "x.yaml").write_text("data: d\nout: o\nsteps: 1\n")
    with pytest.raises(UserError, match=key):
        load_recipe(tmp_path / "x.yaml", words)


def test_contradictions_are_refused_in_new_runs_alone(lab: Any, tmp_path: Path) -> None:
    from unmask.training.recipe import refuse_contradictions

    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": {**shape, "size": "6M"}}, "model.size is 6M, but model has n_layer 2, n_head 2, n_embd 16 too"),
        ({"model": {"size": "6M", "intermediate_size": 8}}, "model.size is 6M, but model has intermediate_size 8 too"),
        ({"model": {**shape, "size": "7M"}}, "model.size '7M' is not a preset"),
        ({"parallel": {"shard": 2}}, "parallel.shard is 2, but parallel.kind auto"),
        ({"data": str(tmp_path), "out": f"{tmp_path}/"}, "out and data are both"),
        ({"init": str(tmp_path), "out": str(tmp_path), "sft": {}}, "out and init are both"),
        ({"init": "b", "sft": {"validation": "v", "validation_share": 0.1}}, "sft.validation names v, but"),
    ]
    for changes, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            refuse_contradictions(lab.recipe("run", **changes))
        assert "\n" not in str(caught.value)
    refuse_contradictions(lab.recipe("run", model={"size": "6M", "rope_base": 100, "tie_embeddings": True}))
