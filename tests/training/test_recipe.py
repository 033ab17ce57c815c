"""Recipes: overrides, types, budgets, and one clear line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from unmask.errors import UserError
from unmask.training.overrides import load_recipe
from unmask.training.recipe import build, differences, kinds, refuse_contradictions
from unmask.training.recipe_fields import BUDGETS, Recipe

MINIMAL = "data: d\nout: o\nsteps: 5\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_overrides_reach_nested_keys_and_keep_types(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path, MINIMAL + "model: {n_layer: 1}\n"),
        {"model.n_layer": "3", "optimizer.lr": "1e-3", "objective.kind": "arm", "batch-size": "8", "compile": "true"},
    )
    assert (recipe.model.n_layer, recipe.optimizer.lr, recipe.objective.kind) == (3, 1e-3, "arm")
    assert (recipe.batch_size, recipe.compile) == (8, True)


def test_a_budget_on_the_command_line_replaces_the_files(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), {"flops": "1e13"})
    assert (recipe.flops, recipe.steps) == (1e13, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "batch_sise: 4\n", "batch_sise is not a recipe key.*did you mean 'batch_size'"),
        (MINIMAL + "model: {n_layers: 4}\n", r"model.n_layers .*did you mean 'n_layer'"),
        (MINIMAL + "model: 3\n", "model is 3"),
        (MINIMAL + "batch_size: four\n", "batch_size is 'four'; give a whole number"),
        (MINIMAL + "batch_size: 2.5\n", "batch_size is 2.5; give a whole number"),
        (MINIMAL + "compile: 1\n", "compile is 1; give true or false"),
        (MINIMAL + "tokens: 100\n", "exactly one of steps, tokens, flops and epochs, not steps and tokens"),
        ("data: d\nout: o\n", "exactly one of steps, tokens, flops and epochs, not none"),
        ("out: o\nsteps: 5\n", "data is missing in the recipe; add --data FOLDER"),
        ("steps: 5\n", "data and out are missing in the recipe; add --data FOLDER --out FOLDER"),
        ("data: d\nout: o\nsteps: 0\n", "steps is 0; give at least 1"),
        ("data: d\nout: o\nflops: -1\n", "flops is -1; give at least 1"),
        (MINIMAL + "tokens: -100\n", "tokens is -100; give at least 1"),
        (MINIMAL + "steps: 3\n", "recipe.yaml: steps is given twice, in lines 3 and 4"),
        (MINIMAL + "batch_size: 0\n", "batch_size is 0; give at least 1"),
        (MINIMAL + "micro_batch: -1\n", "micro_batch is -1"),
        (MINIMAL + "lr: 1e-3\n", "lr is not a recipe key; lr is optimizer.lr"),
        (MINIMAL + "model: {n_layer: -1}\n", "model.n_layer is -1; give at least 0"),
        (MINIMAL + "batch_size: null\n", "batch_size is null; give a whole number"),
        (MINIMAL + "a: " + "[" * 5000, "recipe.yaml cannot be read as YAML: it nests too deeply"),
        (MINIMAL + "schema_version: 2\n", "schema_version is 2, this version reads 1"),
        (MINIMAL + "context: 8\nobjective: {span: 9}\n", "objective.span 9 is longer than context 8; give fewer"),
        (MINIMAL + "batch_size: 6\nmicro_batch: 4\n", "batch_size 6 does not divide by micro_batch 4"),
        (MINIMAL + "flops_rule: exakt\n", "flops_rule .*did you mean 'exact'"),
        (MINIMAL + "optimizer: {schedule: cosin}\n", "optimizer.schedule .*did you mean 'cosine'"),
        (MINIMAL + "objective: {masking: fix}\n", "objective.masking"),
        (MINIMAL + "optimizer: {lr: -1}\n", "optimizer.lr is -1"),
        (MINIMAL + "ema: 1\n", "ema is 1"),
        (MINIMAL + "optimizer: {beta1: 2}\n", "optimizer.beta1 is 2"),
        (MINIMAL + "optimizer: {eps: -1}\n", "optimizer.eps is -1.0; give at least 0"),
        (MINIMAL + "optimizer: {weight_decay: -0.1}\n", "optimizer.weight_decay is -0.1"),
        (MINIMAL + "optimizer: {final: 5}\n", "optimizer.final is 5.0; give at least 0 and at most 1"),
        (MINIMAL + "optimizer: {lr: .inf}\n", "optimizer.lr is inf; give a finite number"),
        (MINIMAL + "ema: nan\n", "ema is 'nan'; give a finite number"),
        (MINIMAL + f"seed: {2**63}\n", "seed is 9223372036854775808; give at least 0 and at most"),
        (MINIMAL + "threads: 100000\n", "threads is 100000; give at least 0 and at most 1,024"),
        (MINIMAL + "context: 1\n", "context is 1; give at least 2"),
        (MINIMAL + "validation: {every: -1}\n", "validation.every is -1; give at least 0"),
        ("- a\n- b\n", "is not a recipe"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere.yaml does not exist"):
        load_recipe(tmp_path / "nowhere.yaml")


WORDS = ("{a: 1}", "[1]", "words", "true", "null", ".nan", ".inf", "-2", "0", "1e400", "2024-01-01", "'9'", "2.5", "")


@pytest.mark.parametrize("key", kinds(Recipe))
def test_every_key_takes_its_kind_or_is_named_in_one_line(key: str) -> None:
    kind = str(kinds(Recipe)[key])
    allowed = {"words", "'9'", "1e400"} if "str" in kind else {"true"} if "bool" in kind else {"'9'", "0"}
    allowed |= {"2.5"} if "float" in kind else {"[1]"} if "list" in kind else set()
    allowed |= {"null", ""} if "None" in kind or key in BUDGETS else set()
    *groups, last = key.split(".")
    taken = set()
    for text in WORDS:
        fields: dict = {"data": "d", "out": "o", "init": "b", "flops": 1e9}
        inner = fields
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = yaml.safe_load(text)
        try:
            build(Recipe, fields, "")
            taken.add(text)
        except UserError as error:
            two = key in BUDGETS and "exactly one of" in str(error)
            assert key in str(error) or last in str(error) or two, (text, str(error))
            assert "\n" not in str(error) and len(str(error)) < 300
    assert taken <= allowed


def test_what_off_and_no_mean(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + "wandb: off\ncompile: yes\nactivation_checkpointing: No\n"))
    assert (recipe.wandb, recipe.compile, recipe.activation_checkpointing) == ("off", True, False)


def test_a_record_of_another_budget_has_zeros_beside_it(tmp_path: Path) -> None:
    fields = load_recipe(write(tmp_path, "data: d\nout: o\nflops: 1e9\n")).to_dict()
    assert fields["steps"] == 0 and build(Recipe, fields, "").flops == 1e9


def test_every_recipe_in_the_repository_is_valid(root: Path) -> None:
    recipes = sorted((root / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        load_recipe(path, {"data": "d", "out": "o"})


def test_a_subset_of_nothing_is_refused(lab):
    with pytest.raises(UserError, match="unique_subset is 1"):
        refuse_contradictions(lab.recipe("x", unique_subset=1))


def test_settings_that_differ_are_told_by_their_names() -> None:
    now, then = {"lr": 1, "seed": 0, "new": 2}, {"lr": 3, "seed": 0, "batch": 4}
    assert differences(now, then) == "batch was 4, is None; lr was 3, is 1; new was None, is 2"
    assert differences(now, then, {"lr", "seed"}) == "lr was 3, is 1" and differences(now, now) == ""
