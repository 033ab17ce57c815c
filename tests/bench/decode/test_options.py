"""The options of `unmask bench decode`: what cannot be measured, and which settings are wanted."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.bench.decode.options import DecodeBenchOptions
from unmask.errors import UserError


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"samples": 1}, "--samples is 1; give at least 2"),
        ({"batch": [0]}, "--batch is 0; give at least 1"),
        ({"prompt": [-1]}, "--prompt is -1; give at least 0"),
        ({"temperature": [-1.0]}, "--temperature is -1.0; give at least 0"),
        ({"out": "nowhere/x.json"}, "its folder does not exist"),
        ({"dtype": ["bf61"]}, "did you mean 'bf16'"),
        ({"dtype": ["fp32", "fp32"]}, "each type once"),
        ({"dtype": []}, "each type once"),
    ],
)
def test_bad_input(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DecodeBenchOptions("mdm", "data", **more).check()
