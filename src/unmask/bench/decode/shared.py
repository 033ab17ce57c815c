"""What the measurements of `unmask bench decode` share: the models, data and judge, and which settings are wanted.

bench = Bench(DecodeBenchOptions("runs/mdm", "data"), mdm, arm, judge, data, store)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from unmask.bench.decode.options import DecodeBenchOptions
from unmask.data.shards import TokenData
from unmask.evaluation.judge import Judge
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.model.folder import Model

BASELINE = "ARM"  # what speeds are set against


@dataclass
class Bench:
    """What all measurements share."""

    options: DecodeBenchOptions
    mdm: Model
    arm: Model | None
    judge: Judge | None
    data: TokenData
    store: RequestStore
    others: dict[str, tuple[Model, Model | None]] = field(default_factory=dict)  # both models in further types, by name
    refused: dict[str, str] = field(default_factory=dict)

    def known(self, *what: Any) -> tuple[str, Any]:
        key = request_key(*what)
        return key, self.store.get(key)


def shared_context(mdm: Model, arm: Model | None) -> int:
    """Tokens that fit into either model."""
    return min(model.config.block_size for model in (mdm, arm) if model is not None)


def in_type(name: str, dtype: str, options: DecodeBenchOptions) -> str:
    """What a setting is called in a type: its own name in the first one."""
    return name if dtype == options.dtype[0] else f"{name}, {dtype}"


def chosen(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
