"""Whoever writes text in `unmask bench decode`: one call for a masked model, its autoregressive twin, and transformers.

    arm = Ours("confidence, L/2 steps", mdm, setting)
    arm.generate([[5, 7], [9, 2]], length=32, seed=0)       # [Written(tokens, nfe, ...), ...]

A pass is a pass over the whole row, or over the window that a cache leaves; a guided pass counts twice. What follows an
end of sequence is cut off in every arm, and so is the end itself: *useful* tokens are those of the text.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from unmask.bench.decode.settings import STOP, Setting
from unmask.decoding import generate
from unmask.decoding.prompts import start_ids
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

    def __init__(self, model: Model, setting: Setting, stops: bool = True) -> None:
        """stops: an end of sequence ends a row; else `length` tokens are written whatever they are."""
        self.name, self.kind, self.setting = setting.name, model.kind, setting
        self.model = model
        self._eos_ids = model.eos_ids if stops else ()
        self._end = STOP if stops else {"eos": "fill"}

    def generate(self, prompts: Sequence[list[int]], length: int, seed: int) -> list[Written]:
        options: dict[str, Any] = {**self._end, **self.setting.call(length), "trace": False}
        rows = generate(self.model, list(prompts), length, seed=[(seed, i) for i in range(len(prompts))], **options)
        texts = [useful(row.tokens, self._eos_ids) for row in rows]
        return [Written(text, r.nfe, r.seconds_to_first, r.computed) for text, r in zip(texts, rows, strict=True)]


class Theirs:
    """transformers' `generate` with its static cache, on the weights of our twin."""

    kind = "transformers"

    def __init__(self, model: Model, temperature: float, stops: bool = True) -> None:
        from transformers.utils import logging

        from unmask.bench.decode.transformers_generate import TransformersGenerate

        logging.disable_progress_bar()
        self.name, self._inner = "transformers, static cache", TransformersGenerate(model)
        self._temperature, self._stops = temperature, stops
        self._model = model

    def generate(self, prompts: Sequence[list[int]], length: int, seed: int) -> list[Written]:
        rows = self._inner.generate(
            [prompt or start_ids(self._model) for prompt in prompts],
            length,
            temperature=self._temperature,
            cache="static",
            stop_at_eos=self._stops,
            seed=seed,
        )
        eos_ids = self._inner.eos_ids if self._stops else ()
        return [Written(useful(row, eos_ids), len(row), None, None) for row in rows]


def transformers_arms(model: Model, temperature: float, stops: bool = True) -> list[Writer]:
    """The arm of transformers, where that package is installed."""
    return [Theirs(model, temperature, stops)] if importlib.util.find_spec("transformers") else []


def useful(tokens: Sequence[int], eos_ids: Sequence[int]) -> list[int]:
    """Those before the first end of sequence."""
    return list(takewhile(lambda token: token not in eos_ids, tokens))
