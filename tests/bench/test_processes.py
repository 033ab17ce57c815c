"""Other checkouts as arms of a measurement."""

from __future__ import annotations

from bench.recipes import recipe_of
from unmask.bench.processes import told
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe


def test_a_worker_is_told_what_is_not_as_usual_alone(corpus):
    """So that an older checkout need not know newer fields; what it makes of it is the same recipe."""
    recipe = recipe_of(corpus, precision="bf16")
    spec = told(recipe)
    assert set(spec) == {
        *("data", "out", "steps", "context", "batch_size", "threads", "precision"),
        *("model", "objective", "optimizer"),
    }
    assert spec["objective"] == {"random_length": 0.3}
    assert build(Recipe, spec, "") == recipe
