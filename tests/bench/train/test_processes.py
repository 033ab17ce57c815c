"""Other checkouts as arms of a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.train.recipes import recipe_of
from unmask.bench.train.processes import Checkout, changed_fields
from unmask.errors import UserError
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe


def test_a_worker_is_told_what_is_not_as_usual_alone(corpus):
    """So that an older checkout need not know newer fields; what it makes of it is the same recipe."""
    recipe = recipe_of(corpus, precision="bf16")
    spec = changed_fields(recipe)
    assert set(spec) == {
        *("data", "out", "steps", "context", "batch_size", "threads", "precision"),
        *("model", "objective", "optimizer"),
    }
    assert spec["objective"] == {"random_length": 0.3}
    assert build(Recipe, spec, "") == recipe


def test_a_checkout_of_before_keeps_its_worker_elsewhere(tmp_path: Path):
    for place, module in (("bench", "unmask.bench.worker"), ("bench/train", "unmask.bench.train.worker")):
        with pytest.raises(UserError, match="is no checkout of unmask with a bench"):
            Checkout.read(f"{tmp_path / place}:fp32")
        folder = tmp_path / place / "src" / "unmask" / place
        folder.mkdir(parents=True)
        (folder / "worker.py").touch()
        assert Checkout.read(f"{tmp_path / place}:fp32").worker == module
