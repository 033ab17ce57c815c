"""What the measurements of `unmask bench decode` share: the command's arguments, and the models, data and judge.

bench = Bench(DecodeBenchOptions("runs/mdm", "data"), mdm, arm, judge, data, store)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation.judge import SMOLLM2, Judge
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.model.folder import Model
from unmask.model.placement import check_dtype, choose_device

BASELINE = "ARM"  # what speeds are set against


@dataclass(frozen=True)
class DecodeBenchOptions:
    """The command's arguments. Lengths and prompts in tokens; pairs that exceed a model's context are left out."""

    model: str
    data: str
    arm: str | None = None
    judge: str = SMOLLM2  # or a model folder, or "none"
    length: Sequence[int] = ()  # by default half the context
    prompt: Sequence[int] = ()  # by default a quarter of it
    batch: Sequence[int] = (1, 8)
    samples: int = 128  # whose quality is measured
    span: int = 3  # tokens of a gap
    gaps: int = 256  # gaps to fill; 0: none
    temperature: Sequence[float] = (1.0, 0.7, 0.5)
    rounds: int = 5
    only: Sequence[str] = ()  # patterns of the settings' names; the twin is always there
    transformers: bool = True
    seed: int = 0
    threads: int = 0
    out: str | None = None
    plot: str | None = None
    device: str = "cpu"
    dtype: Sequence[str] = ("fp32",)  # settings are measured in each of them; the first one is the table's own
    verify: bool | None = None  # as of `unmask.load`

    def check(self) -> None:
        """Raises `UserError` for what cannot be measured."""
        for name, least in (("samples", 2), ("rounds", 1), ("span", 1), ("gaps", 0), ("threads", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}; give at least {least}")
        for name, least in (("length", 1), ("prompt", 0), ("batch", 1)):
            for value in getattr(self, name):
                if value < least:
                    raise UserError(f"--{name} is {value}; give at least {least}")
        for name in self.dtype:
            check_dtype(name)
        if not self.dtype or len(set(self.dtype)) < len(self.dtype):
            raise UserError("--dtype: give each type once: fp32, bf16")
        choose_device(self.device)
        if not self.temperature or min(self.temperature) < 0:
            raise UserError("--temperature: give at least one, each 0 or more")
        for path in (self.out, self.plot):
            if path and not Path(path).resolve().parent.is_dir():
                raise UserError(f"{path}: its folder does not exist; make it, or give another file")


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
