"""Recipes that are looked at before a folder is begun, so that a setting that cannot be costs no --out.

    check_recipes({"judge": {"tokens": 1e6, "model": {...}}})         # UserError naming the recipe and its field

What is known only later (folders of data, a base) may be left out or be anything; sizes are checked too where the
recipe has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmask.errors import UserError
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe

WORDS = 256  # of a vocabulary that is not known yet


def check_recipes(recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Builds each, with stand-ins for `data` and `out`. Raises `UserError` for the first that cannot be."""
    from unmask.training.setup import model_config

    for name, recipe in recipes.items():
        try:
            built = build(Recipe, {"data": "data", **recipe, "out": "out"}, "")
            if built.init is None:
                model_config(built, WORDS, None)
        except UserError as error:
            raise UserError(f"the recipe of {name}: {error}") from error
