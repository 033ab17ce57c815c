"""Parts of a plan become runs."""

from __future__ import annotations

import pytest

from scaling.conftest import part
from unmask.errors import UserError
from unmask.scaling.parts import Spec, spec_of
from unmask.scaling.plan_file import read_plan


def test_a_file_that_lists_no_runs_is_no_plan_yet(bench):
    with pytest.raises(UserError, match="lists no runs yet"):
        read_plan(bench.settings(part()))
    with pytest.raises(UserError, match="does not exist"):
        read_plan(bench.folder / "none.yaml")
    assert spec_of({"vocab": 5}, "x") == Spec(vocab=5)


def test_keys_of_a_recipe_stand_beside_the_usual_ones(bench):
    """Else whoever gives one key would have Bernoulli masks and random lengths again."""
    bench.made(part("m", objective="mdm"), recipe={"optimizer": {"beta2": 0.98}})
    (run,) = read_plan(bench.plan).runs
    recipe = run.recipe_for("-", "-")
    assert (recipe.objective.masking, recipe.objective.random_length, recipe.optimizer.beta2) == ("fixed", 0.0, 0.98)
    bench.made(part("m", objective="mdm"), recipe={"objective": {"masking": "bernoulli"}})
    (run,) = read_plan(bench.plan).runs
    assert run.recipe_for("-", "-").objective.masking == "bernoulli"
