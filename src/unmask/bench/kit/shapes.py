"""Sizes of models as a measurement's command names them.

model_fields("6M"); model_fields("2x3x48")
"""

from __future__ import annotations

import re

from unmask.errors import UserError, nearest
from unmask.model.presets import PRESETS
from unmask.training.recipe_fields import ModelFields


def model_fields(size: str) -> ModelFields:
    """A preset, or a shape as LAYERSxHEADSxWIDTH. Raises `UserError` for anything else."""
    if free := re.fullmatch(r"(\d+)x(\d+)x(\d+)", size):
        layers, heads, width = (int(number) for number in free.groups())
        return ModelFields(n_layer=layers, n_head=heads, n_embd=width)
    if size not in PRESETS:
        hint = nearest(size, PRESETS)
        raise UserError(f"--size {size} is neither a preset{hint} nor LAYERSxHEADSxWIDTH, such as 6M or 2x2x64")
    return ModelFields(size=size)
