"""How much of a row a pass runs again: the caches, by name.

    generate(model, prompts, cache="dual:4", block=32)
    unmask sample RUN --prompt "The people of the" --cache prefix

What they do with a row is in `score.py`; keys and values of a block's surroundings are kept as in Fast-dLLM (arXiv
2505.22618).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unmask.decoding.rules.registry import Registry, Rule, parameter


@dataclass(frozen=True)
class Cache(Rule):
    """How much of a row is run again: all of it."""

    window: ClassVar[str | None] = None  # "prefix" or "dual"
    reuse: ClassVar[bool] = False


CACHES: Registry[Cache] = Registry("cache")
CACHES.register("none")(Cache)


@CACHES.register("reuse")
class Reuse(Cache):
    reuse = True


@CACHES.register("prefix")
@dataclass(frozen=True)
class Prefix(Cache):
    window = "prefix"
    refresh: float = parameter(0, 0, whole=True)  # 0: at the start of each block only


@CACHES.register("dual")
class Dual(Prefix):
    window = "dual"
