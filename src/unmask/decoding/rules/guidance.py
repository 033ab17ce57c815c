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

w may change with the noise level t (the share of masks left) by a registered schedule, and act in an interval of
levels only.

Shapes: R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from unmask.decoding.rules.registry import Registry, Rule, choose


@dataclass(frozen=True)
class Schedule(Rule):
    """A rule: how much of w acts at a noise level."""

    def at(self, t: float) -> float:
        """A factor of w at t, 1 on an empty canvas and 0 on a full one."""
        raise NotImplementedError


SCHEDULES: Registry[Schedule] = Registry("guidance_schedule")


@SCHEDULES.register("constant")
class Constant(Schedule):
    """w at every noise level."""

    def at(self, t: float) -> float:
        return 1.0


@SCHEDULES.register("linear")
class Linear(Schedule):
    """w (1 - t): from nothing on an empty canvas to w on a full one."""

    def at(self, t: float) -> float:
        return 1.0 - t


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """w (1 + cos(pi t)) / 2: the same, slowly at both ends."""

    def at(self, t: float) -> float:
        return (1.0 + math.cos(math.pi * t)) / 2


@SCHEDULES.register("falling")
class Falling(Schedule):
    """w t: from w on an empty canvas to nothing on a full one."""

    def at(self, t: float) -> float:
        return t


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
        return self.scale * self.shape.at(t) if low <= t <= high else 0.0

    @cached_property
    def shape(self) -> Schedule:
        return choose("guidance_schedule", SCHEDULES, self.schedule).of

    def blind(self, tokens: list[int], given: list[bool], start: int, mask_id: int) -> tuple[list[int], int]:
        """What u sees of a row, and how far its positions are shifted."""
        if self.negative is not None:
            return [*self.negative, *tokens[start:]], len(self.negative) - start
        if self.mode == "drop":
            return tokens[start:], -start
        return [mask_id if is_given else token for token, is_given in zip(tokens, given, strict=True)], 0
