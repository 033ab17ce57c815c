"""Shapes by name."""

from __future__ import annotations

import pytest

from unmask.errors import UserError
from unmask.scaling.shapes import family, shape_of, shapes_of


def test_the_family_has_constant_aspect_and_heads_of_16():
    names = [shape.name for shape in family(32, 192)]
    assert names == ["32x2", "48x2", "64x2", "80x3", "96x3", "112x4", "128x4", "160x5", "192x6"]
    assert all(shape.n_embd == 16 * shape.n_head for shape in family(32, 512))
    assert shape_of("96/3") == shape_of("96x3")
    assert shape_of("75M").intermediate_size == 1600
    with pytest.raises(UserError, match="96x3 is given twice"):
        shapes_of(["family:32-192", "96/3"])
    for wrong in ("97x3", "96", "7M", "family:33-40"):
        with pytest.raises(UserError, match="size|family"):
            shapes_of([wrong])
