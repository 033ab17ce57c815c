"""What models to start from must have in common.

    refuse_unequal({"mdm": "runs/sweep/mdm", "arm": "runs/sweep/arm"})
"""

from __future__ import annotations

from collections.abc import Mapping

from unmask.errors import UserError
from unmask.model.folder import load

SHAPE = ("n_layer", "n_head", "n_embd")


def refuse_unequal(bases: Mapping[str, str]) -> None:
    """Raises `UserError` where the models of the kinds have different shapes."""
    shapes = {path: tuple(getattr(load(path).config, name) for name in SHAPE) for path in bases.values()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{path} has {'/'.join(map(str, shape))}" for path, shape in shapes.items())
        raise UserError(f"the models of --base differ in {', '.join(SHAPE)}: {told}; give two of equal shape")
