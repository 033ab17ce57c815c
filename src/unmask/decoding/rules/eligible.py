"""Where a row may be written at all just now: the eligibility rules.

    generate(model, prompts, block=32)                # short for eligible="block:32"

A rule may cut a row into blocks, or narrow the open positions of a block to some of them (`within`), from which order
and quota then choose. At a block's last step all that is open is eligible.

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from unmask.decoding.rules.registry import Registry, Rule, parameter
from unmask.decoding.state.turn import Turn


@dataclass(frozen=True)
class Eligibility(Rule):
    """A rule: one block, and all of it, unless it says otherwise."""

    narrows: ClassVar[bool] = False  # whether it has a `within` of its own

    def __init_subclass__(cls) -> None:
        cls.narrows = cls.within is not Eligibility.within

    @property
    def block(self) -> int | None:
        """New positions a block; None: all are one."""
        return None

    def within(self, turn: Turn) -> torch.Tensor:
        """Bool [R, L]: of `turn.open_RL`, where a token may be written in this step; at least one where any is open."""
        return turn.open_RL


ELIGIBLE: Registry[Eligibility] = Registry("eligible")


@ELIGIBLE.register("all")
class Everywhere(Eligibility):
    """Everywhere."""


@ELIGIBLE.register("block")
@dataclass(frozen=True)
class Blocks(Eligibility):
    """From left to right in blocks of `size` new positions, among which a row's steps are divided (arXiv 2502.09992).

    Semi-autoregressive decoding; the last block is shorter.
    """

    size: float = parameter(32, 1, whole=True)

    @property
    def block(self) -> int | None:
        return int(self.size)
