"""Sizes by name."""

from __future__ import annotations

import pytest

from unmask.bench.kit.shapes import model_fields
from unmask.errors import UserError
from unmask.training.recipe_fields import ModelFields


def test_a_preset_or_a_shape() -> None:
    assert model_fields("6M").size == "6M"
    assert model_fields("3x2x16") == ModelFields(n_layer=3, n_head=2, n_embd=16)


@pytest.mark.parametrize("size", ["7M", "3x2", "3x2x16x4", "-3x2x16", ""])
def test_anything_else_is_refused(size: str) -> None:
    with pytest.raises(UserError, match="is neither a preset.* nor LAYERSxHEADSxWIDTH, such as 6M or 2x2x64"):
        model_fields(size)
