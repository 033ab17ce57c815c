"""Whoever writes text in `unmask bench decode`: one call for a masked model, its autoregressive twin, and transformers.

    arm = Ours("confidence, L/2 steps", mdm, setting)
    arm.generate([[5, 7], [9, 2]], length=32, seed=0)       # [Written(tokens, nfe, ...), ...]

A pass is a pass over the whole row, or over the window that a cache leaves; a guided pass counts twice. What follows an
end of sequence is cut off in every arm, and so is the end itself: *useful* tokens are those of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from unmask.bench.decode_settings import STOP, Setting
from unmask.decoding import generate
from unmask.model.folder import Model


@dataclass(frozen=True)
class Written:
    """One row: its text's tokens, and what they took."""

    tokens: list[int]  # up to the end of sequence, which is not among them
    nfe: float
    seconds_to_first: float | None  # from the call to the first token that stood
    computed: int | None  # token positions the network ran for; None where nobody counts them


class Writer(Protocol):
    """An arm."""

    name: str
    kind: str  # "mdm", "arm" or "transformers"

    def generate(self, prompts: Sequence[list[int]], length: int, seed: int) -> list[Written]: ...


class Ours:
    """`generate` with a setting's options."""

    def __init__(self, model: Model, setting: Setting) -> None:
        self.name, self.kind, self.model, self.setting = setting.name, model.kind, model, setting

    def generate(self, prompts: Sequence[list[int]], length: int, seed: int) -> list[Written]:
        options: dict[str, Any] = {**STOP, **self.setting.call(length), "trace": False}
        rows = generate(self.model, list(prompts), length, seed=[(seed, i) for i in range(len(prompts))], **options)
        eos_id = self.model.config.eos_id
        first, computed = (lambda row: getattr(row, "seconds_to_first", None)), (lambda row: getattr(row, "computed", None))
        return [Written(useful(row.tokens, eos_id), row.nfe, first(row), computed(row)) for row in rows]


class Theirs:
    """transformers' `generate`, of `unmask.bench.transformers_generate`."""

    kind = "transformers"

    def __init__(self, inner: Any, eos_id: int | None) -> None:
        self.name, self._inner, self._eos_id = inner.name, inner, eos_id

    def generate(self, prompts: Sequence[list[int]], length: int, seed: int) -> list[Written]:
        rows = self._inner.generate(list(prompts), length, seed)
        return [Written(useful(tokens, self._eos_id), nfe, first, None) for tokens, nfe, first in rows]


def useful(tokens: Sequence[int], eos_id: int | None) -> list[int]:
    """Those before the first end of sequence."""
    tokens = list(tokens)
    return tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens


def transformers_arms(model: Model, temperature: float) -> list[Writer]:
    return []
