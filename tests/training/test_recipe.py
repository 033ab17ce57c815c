"""Recipes: overrides, types, budgets, and one clear line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.training.recipe import load_recipe

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
        ("out: o\nsteps: 5\n", "data is missing"),
        (MINIMAL + "batch_size: 6\nmicro_batch: 4\n", "batch_size 6 does not divide by micro_batch 4"),
        (MINIMAL + "flops_rule: exakt\n", "flops_rule .*did you mean 'exact'"),
        (MINIMAL + "optimizer: {schedule: cosin}\n", "optimizer.schedule .*did you mean 'cosine'"),
        (MINIMAL + "objective: {masking: fix}\n", "objective.masking"),
        (MINIMAL + "optimizer: {lr: -1}\n", "optimizer.lr is -1"),
        (MINIMAL + "ema: 1\n", "ema is 1"),
        (MINIMAL + "optimizer: {beta1: 2}\n", "optimizer.beta1 is 2"),
        (MINIMAL + "optimizer: {eps: -1}\n", "optimizer.eps is -1.0; give at least 0"),
        (MINIMAL + "optimizer: {weight_decay: -0.1}\n", "optimizer.weight_decay is -0.1"),
        (MINIMAL + "optimizer: {final: 5}\n", "optimizer.final is 5.0; give at most 1"),
        (MINIMAL + "optimizer: {lr: .inf}\n", "optimizer.lr is inf; give a finite number"),
        (MINIMAL + "ema: nan\n", "ema is 'nan'; give a finite number"),
        (MINIMAL + f"seed: {2**63}\n", "seed is 9223372036854775808; give at most"),
        (MINIMAL + "threads: 100000\n", "threads is 100000; give at most 1024"),
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


def test_every_recipe_in_the_repository_is_valid(root: Path) -> None:
    recipes = sorted((root / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        load_recipe(path, {"data": "d", "out": "o"})
