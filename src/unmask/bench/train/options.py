"""What `unmask bench train` is asked for, and its defaults; `--tiny` has some of its own (`tiny.py`).

BenchOptions(size=["6M"], against=["plain"]).resolved()
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError, nearest
from unmask.training.recipe import PRECISIONS

ARMS = ("ours", "plain", "transformers")
MANY_STEPS = 1_000_000  # of the learning-rate schedule; a benchmark ends before


@dataclass(frozen=True)
class BenchOptions:
    """What to measure. 0 in batch, context, rounds, steps: 4, 512, 5, 3, or with `memory` 8, 2048, 1, 2."""

    size: Sequence[str] = ()  # presets, or LAYERSxHEADSxWIDTH such as 2x2x16; 6M, of `tiny` those named there
    kind: str = "mdm"
    against: Sequence[str] = ()
    against_checkout: Sequence[str] = ()  # PATH, PATH:fp32, PATH:fp32:eager
    tiny: bool = False
    ranks: int = 1  # above 1: also as many processes with threads / ranks threads each
    batch: int = 0
    context: int = 0
    vocab: int = 0  # 0: 32,000
    threads: int = 0  # 0: all cores
    compile: bool = True
    rounds: int = 0
    steps: int = 0  # a turn
    warmup: int = 2  # steps before the first round, compilation among them
    memory: bool = False
    random_length: float = 0.0
    masking: str = "bernoulli"
    activation_checkpointing: bool = False
    precision: Sequence[str] = ("auto",)  # several: each arm in each
    device: str = "auto"
    profile: str | None = None  # a file for the trace of our arm
    out: str | None = None
    plot: str | None = None

    def resolved(self) -> BenchOptions:
        """With the defaults filled in. Raises `UserError` for what cannot be measured."""
        usual = {"batch": 8, "context": 2048, "rounds": 1, "steps": 2} if self.memory else {}
        usual = {"batch": 4, "context": 512, "rounds": 5, "steps": 3, "vocab": 32000} | usual
        usual["threads"] = os.cpu_count() or 1
        chosen: dict[str, Any] = {name: value for name, value in usual.items() if not getattr(self, name)}
        chosen |= {} if self.size else {"size": ("6M",)}
        filled = dataclasses.replace(self, **chosen)
        for name in ("batch", "context", "vocab", "threads", "rounds", "steps", "warmup", "ranks"):
            if getattr(filled, name) < 1:
                raise UserError(f"--{name} is {getattr(filled, name)}; give at least 1")
        for name in filled.precision:
            if name not in PRECISIONS:
                raise UserError(f"--precision {name} is not known; give one of {', '.join(PRECISIONS)}")
        for name in filled.against:
            if name not in ARMS[1:]:
                raise UserError(f"--against {name} is not known{nearest(name, ARMS)}; give {' or '.join(ARMS[1:])}")
        if filled.threads % filled.ranks or filled.batch % filled.ranks:
            raise UserError(f"--ranks {filled.ranks} must divide --threads {filled.threads} and --batch {filled.batch}")
        if filled.ranks > 1 and filled.device == "cuda":
            raise UserError("--ranks measures processes on CPU cores; on GPUs use torchrun with unmask train")
        for path in (filled.out, filled.plot, filled.profile):
            if path and not Path(path).resolve().parent.is_dir():
                raise UserError(f"{path}: its folder does not exist; make it, or give another file")
        return filled
