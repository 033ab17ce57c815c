"""Recipes that are looked at before a folder is begun."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.errors import UserError
from unmask.experiments.recipe_check import check_recipes

GOOD = {"context": 32, "batch_size": 2, "steps": 3, "model": {"n_layer": 1, "n_head": 2, "n_embd": 8},
        "objective": {"kind": "arm"}}  # fmt: skip


def test_a_recipe_without_its_data_or_its_base_may_be_good() -> None:
    check_recipes({"a": GOOD, "b": {**GOOD, "model": {}, "init": "nowhere", "data": "there"}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"n_layer": 1, "n_head": 3, "n_embd": 8}}, "the recipe of b: "),
        ({"optimizer": {"lr": 0}}, "the recipe of b: optimizer.lr is 0"),
        ({"stepz": 3}, "the recipe of b: .*stepz"),
        ({"objective": {"kind": "mdm", "span": 40}}, "the recipe of b: objective.span 40 is longer than context 32"),
    ],
)
def test_one_that_cannot_be_is_named_with_its_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_recipes({"a": GOOD, "b": {**GOOD, **change}})
