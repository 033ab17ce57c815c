"""Shapes of a sweep's models: presets, WIDTHxLAYERS, or a family of constant aspect.

    shape_of("96x3")                 # 3 layers, 6 heads of 16, width 96; "96/3" is the same
    family(32, 192)                  # 32x2, 48x2, 64x2, ..., 192x6: width near 30 times the layers, heads of 16

One family of shapes matters more to an exponent than more seeds: shapes off the line scatter about the parabola.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.presets import PRESETS, preset

ASPECT = 30  # width over layers
HEAD_DIM = 16
LEAST_LAYERS = 2
FINE, FAR = 16, 32  # steps of width, up to 128 and beyond
NAME = re.compile(r"(\d+)[x/](\d+)")
FAMILY = re.compile(r"family:(\d+)-(\d+)")


@dataclass(frozen=True)
class Shape:
    """What the sizes of one run's model are; `name` is how the plan writes it."""

    name: str
    n_layer: int
    n_head: int
    n_embd: int
    intermediate_size: int = 0  # 0: 4 * n_embd

    def fields(self) -> dict[str, Any]:
        """The keys of a recipe's `model` group."""
        fields = {"n_layer": self.n_layer, "n_head": self.n_head, "n_embd": self.n_embd}
        return {**fields, "intermediate_size": self.intermediate_size} if self.intermediate_size else fields

    def config(self, objective: str, vocab_size: int, context: int) -> ModelConfig:
        sizes = {"vocab_size": vocab_size, "causal": objective == "arm", "block_size": context}
        return ModelConfig.from_dict({**self.fields(), **sizes})


def shape_of(name: str) -> Shape:
    """Of `96x3`, `96/3` or a preset such as `6M`. Raises `UserError` for anything else."""
    if (match := NAME.fullmatch(name)) is not None:
        width, layers = int(match[1]), int(match[2])
        if width < HEAD_DIM or width % HEAD_DIM or layers < 1:
            raise UserError(f"size {name}: the width must be a multiple of {HEAD_DIM}, with one layer or more")
        return Shape(f"{width}x{layers}", layers, width // HEAD_DIM, width)
    if name in PRESETS:
        config = preset(name)
        wide = 0 if config.intermediate_size == 4 * config.n_embd else config.intermediate_size
        return Shape(name, config.n_layer, config.n_head, config.n_embd, wide)
    raise UserError(f"size '{name}' is none; give WIDTHxLAYERS as 96x3, a preset as 6M, or family:32-192")


def shapes_of(names: list[str]) -> list[Shape]:
    """Of all names, families spread out. Raises `UserError` where one is given twice."""
    shapes: list[Shape] = []
    for name in names:
        spread = FAMILY.fullmatch(name)
        shapes += [shape_of(name)] if spread is None else family(int(spread[1]), int(spread[2]))
    for i, shape in enumerate(shapes):
        if shape in shapes[:i]:
            raise UserError(f"size {shape.name} is given twice; leave out one")
    return shapes


def family(least: int, most: int) -> list[Shape]:
    """Shapes of constant aspect whose widths lie between two."""
    widths = [*range(FINE, 8 * FINE, FINE), *range(8 * FINE, most + 1, FAR)]
    chosen = [width for width in widths if least <= width <= most]
    if not chosen:
        raise UserError(f"family:{least}-{most} has no width; give two multiples of {HEAD_DIM}, as family:32-192")
    return [shape_of(f"{width}x{max(LEAST_LAYERS, round(width / ASPECT))}") for width in chosen]
