"""Recipes: YAML files plus dotted overrides, checked into one resolved `Recipe`.

    unmask train recipes/demo-mdm.yaml --steps 200 --model.n_layer 4
    load_recipe("recipes/demo-mdm.yaml", {"steps": "200", "model.n_layer": "4"})

A key that does not exist, a value of the wrong type, or sizes that do not fit is one line naming the field.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unmask.data.sft import SFTFields
from unmask.diffusion.objective import ObjectiveConfig
from unmask.errors import UserError, nearest
from unmask.model.flops import FLOPS_RULES
from unmask.model.lora import LoRAFields

SCHEMA_VERSION = 1
LR_SCHEDULES = ("cosine", "constant", "wsd")
PRECISIONS = ("auto", "fp32", "bf16")
PARALLEL = ("auto", "ddp", "fsdp")
WANDB = ("off", "offline", "online")
VERIFY = ("full", "sizes")
BUDGETS = ("steps", "tokens", "flops", "epochs")
# Least and greatest value of a number; every number is finite besides.
RANGES: dict[str, tuple[float, float]] = {
    "context": (2, math.inf),  # a validation window is a token shorter
    "threads": (0, 1024),
    **dict.fromkeys(("seed", "validation.seed"), (0, 2**63 - 1)),
    **dict.fromkeys(("validation.every", "checkpoint.every"), (0, math.inf)),
    **dict.fromkeys(("optimizer.eps", "optimizer.weight_decay", "optimizer.clip"), (0, math.inf)),
    **dict.fromkeys(("optimizer.final", "optimizer.decay"), (0, 1)),
    "optimizer.warmup": (-1, math.inf),
}


@dataclass(frozen=True)
class ModelFields:
    """A preset by `size`, or free sizes; zeros and nulls mean the preset's or the default value."""

    size: str | None = None
    n_layer: int = 0
    n_head: int = 0
    n_embd: int = 0
    n_kv_head: int = 0
    intermediate_size: int = 0
    head_dim: int = 0
    tie_embeddings: bool = False
    rope_base: float = 10000.0
    norm_eps: float = 1e-5


@dataclass(frozen=True)
class OptimizerFields:
    """AdamW and its schedule (defaults: arXiv 2410.18514 and its code)."""

    lr: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # on all parameters, as the paper
    clip: float = 1.0  # global gradient norm; 0: off
    schedule: str = "cosine"
    warmup: int = -1  # steps; -1: the paper's max(100, 1%), at most a tenth of the run
    final: float = 0.1  # the last learning rate as a share of lr
    decay: float = 0.2  # wsd: share of the steps in which the rate falls


@dataclass(frozen=True)
class ValidationFields:
    """The bound (MDM) or likelihood (ARM) on fixed windows, or held-out examples, with fixed noise."""

    every: int = 0  # steps; 0: a tenth of the run
    windows: int = 64  # or examples
    draws: int = 4
    seed: int = 20410


@dataclass(frozen=True)
class CheckpointFields:
    every: int = 0  # steps; 0: a tenth of the run
    keep: int = 2
    verify: str = "full"  # what --resume checks: full, contents by their sums; sizes, for very large ones


@dataclass(frozen=True)
class ParallelFields:
    """How several ranks (of `torchrun`) share the work; free to change on resume."""

    kind: str = "auto"  # ddp: each rank holds all; fsdp: shards of weights, gradients and moments; auto: ddp
    shard: int = 0  # fsdp: ranks that share one copy; 0: all. Fewer: hybrid, copies side by side


@dataclass(frozen=True)
class Recipe:
    """One training run. Exactly one of steps, tokens, flops and epochs is its budget."""

    data: str = ""
    out: str = ""
    init: str | None = None  # a run, checkpoint or model folder to start from; its config is then the model's
    seed: int = 0
    context: int = 2048
    batch_size: int = 256  # sequences per step
    micro_batch: int = 0  # sequences per backward pass; 0: all of a rank's
    steps: int = 0
    tokens: float = 0.0
    flops: float = 0.0
    epochs: float = 0.0
    flops_rule: str = "exact"
    model: ModelFields = field(default_factory=ModelFields)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerFields = field(default_factory=OptimizerFields)
    validation: ValidationFields = field(default_factory=ValidationFields)
    checkpoint: CheckpointFields = field(default_factory=CheckpointFields)
    parallel: ParallelFields = field(default_factory=ParallelFields)
    sft: SFTFields | None = None  # fine-tuning on prompts and answers: `data` is then a file of JSON lines
    lora: LoRAFields | None = None  # train adapters alone
    activation_checkpointing: bool = False  # recompute each layer in the backward pass: less memory, more arithmetic
    ema: float = 0.0  # decay of averaged weights, which checkpoints then hold; 0: off
    compile: bool = False
    precision: str = "auto"  # fp32 on a CPU, bf16 autocast on CUDA
    device: str = "auto"
    threads: int = 0  # 0: PyTorch's choice
    log_every: int = 10
    max_skipped: int = 10  # steps in a row with a gradient that is not finite
    wandb: str = "off"  # off, offline or online
    profile: int = 0  # steps to trace into trace.json

    def __post_init__(self) -> None:
        for name in ("data", "out"):
            if not getattr(self, name):
                raise UserError(f"{name} is missing in the recipe; add `{name}: FOLDER` or --{name} FOLDER")
        budgets = [name for name in BUDGETS if getattr(self, name)]
        if len(budgets) != 1:
            given = " and ".join(budgets) or "none"
            raise UserError(f"a recipe needs exactly one of steps, tokens, flops and epochs, not {given}")
        for name in ("context", "batch_size", "log_every", "max_skipped"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; give at least 1")
        for name in (*budgets, "micro_batch", "threads", "seed", "profile"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.batch_size % (self.micro_batch or self.batch_size):
            raise UserError(f"batch_size {self.batch_size} does not divide by micro_batch {self.micro_batch}")
        for name, value, options in (
            ("flops_rule", self.flops_rule, FLOPS_RULES),
            ("precision", self.precision, PRECISIONS),
            ("optimizer.schedule", self.optimizer.schedule, LR_SCHEDULES),
            ("parallel.kind", self.parallel.kind, PARALLEL),
            ("wandb", self.wandb, WANDB),
            ("checkpoint.verify", self.checkpoint.verify, VERIFY),
        ):
            if value not in options:
                raise UserError(f"{name} is {value!r}{nearest(value, options)}; give one of {', '.join(options)}")
        if not self.optimizer.lr > 0:
            raise UserError(f"optimizer.lr is {self.optimizer.lr}; give a positive number")
        for name in ("sft", "lora"):
            if getattr(self, name) is not None and self.init is None:
                raise UserError(f"{name} needs a model to start from; add `init: RUN` or --init RUN")
        if self.lora is not None and self.ema:
            raise UserError("ema averages whole models and lora trains none; leave out one of them")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema is {self.ema}; give a decay from 0 (off) to below 1")
        for name, count in (("validation.windows", self.validation.windows), ("checkpoint.keep", self.checkpoint.keep)):
            if count < 1:
                raise UserError(f"{name} is {count}; give at least 1")
        if self.validation.draws < 2:
            raise UserError(f"validation.draws is {self.validation.draws}; give at least 2, for a standard error")
        for name, (least, most) in RANGES.items():
            value = operator.attrgetter(name)(self)
            if not least <= value <= most:
                border = f"at least {least}" if value < least else f"at most {most}"
                raise UserError(f"{name} is {value}; give {border}")
        for name in ("beta1", "beta2"):
            if not 0 <= (decay := getattr(self.optimizer, name)) < 1:
                raise UserError(f"optimizer.{name} is {decay}; give at least 0 and below 1")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load_recipe(path: str | Path, overrides: dict[str, str] | None = None) -> Recipe:
    """The recipe in a YAML file with dotted overrides (values as YAML text). Raises `UserError`."""
    try:
        fields = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; give a recipe, such as recipes/demo-mdm.yaml") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as YAML: {reason}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{path} is not a recipe: it must hold `key: value` lines")
    for name, text in (overrides or {}).items():
        set_dotted(fields, name, text)
    fields.pop("schema_version", None)
    return build(Recipe, fields, "")


def set_dotted(fields: dict[str, Any], name: str, text: str) -> None:
    """Puts an override such as ``model.n_layer=4`` into nested mappings."""
    *parents, last = name.replace("-", "_").split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
        if not isinstance(fields, dict):
            raise UserError(f"--{name}: {parent} is not a group of settings")
    try:
        fields[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--{name} {text}: the value cannot be read") from error
    # A budget on the command line replaces the file's.
    if not parents and last in BUDGETS:
        for other in set(BUDGETS) - {last}:
            fields.pop(other, None)


def build(cls: type, fields: dict[str, Any], where: str) -> Any:
    """A (nested) dataclass from a mapping, each key and type checked."""
    hints = typing.get_type_hints(cls)
    values = {}
    for name, value in fields.items():
        if name not in hints:
            group = f" of {where.rstrip('.')}" if where else ""
            raise UserError(f"{where}{name} is not a recipe key{group}{nearest(str(name), hints)}")
        values[name] = _checked(hints[name], value, f"{where}{name}")
    return cls(**values)


def _checked(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UserError(f"{where} is {value!r}; it must be a group of settings")
        return build(typing.cast(type, kind), value, f"{where}.")
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        return _checked(next(option for option in typing.get_args(kind) if option is not type(None)), value, where)
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and not isinstance(value, bool):
        try:
            # YAML reads 1e13 (no dot) as text.
            number = float(value) if isinstance(value, str) or kind is float else value
            if math.isfinite(number) and (kind is float or number == int(number)):
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            pass
    names = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number"}
    raise UserError(f"{where} is {value!r}; give {names[kind]}")
