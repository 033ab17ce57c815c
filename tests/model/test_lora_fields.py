"""Adapters as keys of a recipe."""

from __future__ import annotations

import pytest

from unmask.errors import UserError
from unmask.model.lora_fields import TARGETS, LoRAFields


def test_all_linear_maps_by_default() -> None:
    assert tuple(LoRAFields().names) == TARGETS and LoRAFields(targets="qkv, out").names == ["qkv", "out"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"rank": 0}, "lora.rank is 0; give at least 1"),
        ({"alpha": 0.0}, "lora.alpha is 0.0; give a number above 0"),
        ({"targets": "qvk"}, r"lora.targets names 'qvk' \(did you mean 'qkv'\?\)"),
    ],
)
def test_bad_values_are_named(fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        LoRAFields(**fields)  # type: ignore[arg-type]
