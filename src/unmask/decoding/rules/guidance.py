"""Classifier-free guidance: logits = u + (1 + w)(c - u), c with the prompt in view and u without.

    generate(model, prompts, guidance=0.5)                                            # unsupervised: the paper's
    generate(model, prompts, guidance=1.0, guidance_mode="drop", guidance_interval=(0.0, 0.5))
    generate(model, prompts, guidance=1.0, negative="a text to get away from")

What u sees is the mode:

mask      every prompt position holds the mask, positions kept: unsupervised guidance (arXiv 2410.18514), from a model
          that never saw pairs; also what a model trained with prompt dropout (standard guidance) learned as "no prompt"
drop      the new positions alone, from position 0 on: standard guidance for a model whose unconditional samples began
          there
negative  another prompt in place of the prompt

w may change with the noise level t (the share of masks left), and act in an interval of levels only.

Shapes: R rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,  # from nothing on an empty canvas to w on a full one
    "cosine": lambda t: (1.0 + math.cos(math.pi * t)) / 2,
    "falling": lambda t: t,
}


@dataclass(frozen=True)
class Guidance:
    """One row's guidance. `negative` replaces the mode."""

    scale: float = 0.0
    mode: str = "mask"
    schedule: str = "constant"
    interval: tuple[float, float] = (0.0, 1.0)
    negative: tuple[int, ...] | None = None

    @property
    def hides_in_place(self) -> bool:
        return self.mode == "mask" and self.negative is None

    def at(self, t: float) -> float:
        """w at a noise level; 0 is off and costs one pass instead of two."""
        low, high = self.interval
        return self.scale * SCHEDULES[self.schedule](t) if low <= t <= high else 0.0

    def blind(self, tokens: list[int], given: list[bool], start: int, mask_id: int) -> tuple[list[int], int]:
        """What u sees of a row, and how far its positions are shifted."""
        if self.negative is not None:
            return [*self.negative, *tokens[start:]], len(self.negative) - start
        if self.mode == "drop":
            return tokens[start:], -start
        return [mask_id if is_given else token for token, is_given in zip(tokens, given, strict=True)], 0
