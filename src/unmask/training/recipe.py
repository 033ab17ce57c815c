"""Recipes: the settings of a training run, from a mapping or a YAML file, checked into one resolved `Recipe`.

    unmask train demo-mdm --steps 200 --model.n_layer 4
    build(Recipe, settings_of(read_yaml("my.yaml"), "my.yaml"), "")

A key that does not exist, a value of the wrong type, or sizes that do not fit is one line naming the field.
`overrides.py` reads a file with the command line's keys over it, `record.py` what a run folder keeps of its recipe.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import os
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from unmask.data.sft import SFTFields
from unmask.diffusion.objective import ObjectiveConfig
from unmask.errors import UserError, nearest
from unmask.model.flops import FLOPS_RULES
from unmask.model.lora import LoRAFields
from unmask.model.presets import preset
from unmask.settings import shown

SCHEMA_VERSION = 1
LR_SCHEDULES = ("cosine", "constant", "wsd", "cooldown")
PRECISIONS = ("auto", "fp32", "bf16")
PARALLEL = ("auto", "ddp", "fsdp")
WANDB = ("off", "offline", "online")
VERIFY = ("full", "sizes")
BUDGETS = ("steps", "tokens", "flops", "epochs")
LEAST = {"steps": 1.0, "tokens": 1.0, "flops": 1.0, "epochs": 0.0}
RECORDED = ("schema_version", "extensions")  # what a run's recipe.yaml holds beside the settings
WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
# Least and greatest value of a number; every number is finite besides.
RANGES: dict[str, tuple[float, float]] = {
    "context": (2, math.inf),  # a validation window is a token shorter
    "threads": (0, 1024),
    **dict.fromkeys(("unique_tokens", "unique_subset"), (0, math.inf)),
    **dict.fromkeys(("seed", "validation.seed"), (0, 2**63 - 1)),
    **dict.fromkeys(("validation.every", "checkpoint.every"), (0, math.inf)),
    **dict.fromkeys(("optimizer.eps", "optimizer.weight_decay", "optimizer.clip"), (0, math.inf)),
    **dict.fromkeys(("optimizer.final", "optimizer.decay"), (0, 1)),
    "optimizer.warmup": (-1, math.inf),
    **dict.fromkeys(("model.n_layer", "model.n_head", "model.n_embd", "model.n_kv_head"), (0, math.inf)),
    **dict.fromkeys(("model.intermediate_size", "model.head_dim", "parallel.shard"), (0, math.inf)),
}
SHAPE = ("n_layer", "n_head", "n_embd", "n_kv_head", "intermediate_size", "head_dim")


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
    at: list[int] = field(default_factory=list)  # steps whose checkpoints stay, whatever `keep` says
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
    fork: str | None = None  # RUN@STEP: go on from that checkpoint with moments and counters too (fork.py)
    seed: int = 0
    context: int = 2048
    batch_size: int = 256  # sequences per step
    micro_batch: int = 0  # sequences per backward pass; 0: all of a rank's
    steps: int = 0
    tokens: float = 0.0
    flops: float = 0.0
    epochs: float = 0.0
    flops_rule: str = "exact"
    unique_tokens: float = 0.0  # train on about so many tokens of the data alone, again and again; 0: all
    unique_subset: int = 0  # which ones: stretches of that length, counted from the beginning
    model: ModelFields = field(default_factory=ModelFields)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerFields = field(default_factory=OptimizerFields)
    validation: ValidationFields = field(default_factory=ValidationFields)
    checkpoint: CheckpointFields = field(default_factory=CheckpointFields)
    parallel: ParallelFields = field(default_factory=ParallelFields)
    sft: SFTFields | None = None  # fine-tuning on prompts and answers: `data` is then a file of JSON lines
    lora: LoRAFields | None = None  # train adapters alone
    activation_checkpointing: bool = False  # recompute each layer in the backward pass: less memory, more arithmetic
    dropout: float = 0.0  # of what attention and MLP add to the residual stream, while training; no part of the model
    ema: float = 0.0  # decay of averaged weights, which checkpoints then hold; 0: off
    compile: bool = False
    precision: str = "auto"  # type of the products: fp32, bf16, or the faster one (precision.py)
    device: str = "auto"
    threads: int = 0  # 0: PyTorch's choice
    log_every: int = 10
    max_skipped: int = 10  # steps in a row with a gradient that is not finite
    wandb: str = "off"  # off, offline or online
    profile: int = 0  # steps to trace into trace.json

    def __post_init__(self) -> None:
        if missing := [name for name in ("data", "out") if not getattr(self, name)]:
            what = " and ".join(missing) + (" are" if missing[1:] else " is")
            mend = " ".join(f"--{name} FOLDER" for name in missing)
            raise UserError(f"{what} missing in the recipe; add {mend}, or such a line there")
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
        for name in ("optimizer.lr", "model.rope_base", "model.norm_eps"):
            if not (value := operator.attrgetter(name)(self)) > 0:
                raise UserError(f"{name} is {value}; give a positive number")
        for name in ("sft", "lora"):
            if getattr(self, name) is not None and self.init is None:
                raise UserError(f"{name} needs a model to start from; add `init: RUN` or --init RUN")
        if self.lora is not None and self.ema:
            raise UserError("ema averages whole models and lora trains none; leave out one of them")
        if self.fork is not None:
            fork_of(self.fork)
        elif self.optimizer.schedule == "cooldown":
            raise UserError("optimizer.schedule cooldown falls from where a run forks off another; add --fork RUN@STEP")
        if wrong := [step for step in self.checkpoint.at if step < 1]:
            raise UserError(f"checkpoint.at holds {wrong[0]}; give steps of at least 1")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema is {self.ema}; give a decay from 0 (off) to below 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}; give a share from 0 (off) to below 1")
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

    @property
    def forked_at(self) -> int:
        """The step at which the run forks off another; 0 where it does not."""
        return 0 if self.fork is None else fork_of(self.fork)[1]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def budget(self) -> dict[str, Any]:
        """The one that counts, by its name."""
        return {name: value for name in BUDGETS if (value := getattr(self, name))}


def fork_of(text: str) -> tuple[str, int]:
    """(run folder, step) of ``runs/trunk@800``. Raises `UserError` where it is not of that form."""
    run, _, step = text.rpartition("@")
    if not run or not step.isdecimal() or not int(step):
        raise UserError(f"fork is {text!r}; give RUN@STEP, a run folder and the step of one of its checkpoints")
    return run, int(step)


def refuse_contradictions(recipe: Recipe) -> None:
    """Raises `UserError` where two settings of a new run ask for different things.

    Not part of a recipe's own checks: runs that earlier versions began with such settings still go on.
    """
    model, sft = recipe.model, recipe.sft
    if model.size is not None:
        preset(model.size)  # raises for an unknown name
    if model.size is not None and (given := [f"{n} {getattr(model, n)}" for n in SHAPE if getattr(model, n)]):
        mend = f"leave out one or the other; --model '{{size: {model.size}}}' replaces a recipe's whole group"
        raise UserError(f"model.size is {model.size}, but model has {', '.join(given)} too; {mend}")
    sources = {"data": recipe.data, "init": recipe.init, "fork": recipe.fork and fork_of(recipe.fork)[0]}
    for name, path in sources.items():
        if path and os.path.realpath(path) == os.path.realpath(recipe.out):
            raise UserError(f"out and {name} are both {recipe.out}; a run needs its own folder, give another --out")
    if recipe.unique_subset and not recipe.unique_tokens:
        raise UserError(f"unique_subset is {recipe.unique_subset}, but unique_tokens is 0; give both or none")
    if recipe.unique_tokens and recipe.sft is not None:
        raise UserError("unique_tokens is of pretraining, and sft trains on examples; leave out one of them")
    if recipe.parallel.shard and recipe.parallel.kind != "fsdp":
        mend = "give parallel.kind fsdp, or leave out parallel.shard"
        raise UserError(f"parallel.shard is {recipe.parallel.shard}, but parallel.kind {recipe.parallel.kind}; {mend}")
    if sft is not None and sft.validation and sft.validation_share != SFTFields().validation_share:
        both = f"sft.validation names {sft.validation}, but sft.validation_share is {sft.validation_share}"
        raise UserError(f"{both}: held-out rows come from one of them; leave out the other")


def settings_of(fields: Any, where: str) -> dict[str, Any]:
    """What a recipe file holds but for the record that a run keeps beside it. Raises `UserError` where it is none."""
    if not isinstance(fields, dict):
        raise UserError(f"{where} is not a recipe: it must hold `key: value` lines")
    version = fields.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise UserError(f"{where}: schema_version is {shown(version)}, this version reads {SCHEMA_VERSION}")
    return {name: value for name, value in fields.items() if name not in RECORDED}


def build(cls: type, fields: dict[str, Any], where: str) -> Any:
    """A (nested) dataclass from a mapping, each key and type checked."""
    hints = typing.get_type_hints(cls)
    values = {}
    for name, value in fields.items():
        if name not in hints:
            raise UserError(_unknown(str(name), where, hints))
        if name in BUDGETS and value is None and not where:
            continue  # as if it were not given
        values[name] = _checked(hints[name], value, f"{where}{name}")
    if cls is Recipe:
        refuse_no_budget({name: value for name, value in values.items() if name in BUDGETS})
    return cls(**values)


def refuse_no_budget(given: dict[str, float]) -> None:
    """Raises `UserError` where a budget is nothing, or less. A record has zeros beside the one that counts."""
    for name, value in given.items():
        if value < LEAST[name] or value == 0:
            if value == 0 and any(given.values()):
                continue
            least = f"at least {LEAST[name]:g}" if LEAST[name] else "more than 0"
            raise UserError(f"{name} is {value:g}; give {least}")


def kinds(cls: type, prefix: str = "") -> dict[str, Any]:
    """The type of every key that is no group, by its dotted name."""
    found: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(cls).items():
        options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        if group := next((option for option in options if dataclasses.is_dataclass(option)), None):
            found |= kinds(typing.cast(type, group), f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = kind
    return found


def _unknown(name: str, where: str, hints: dict[str, Any]) -> str:
    """The line for a key that does not exist; one of that name in another group is what is meant."""
    group = f" of {where.rstrip('.')}" if where else ""
    elsewhere: dict[str, list[str]] = {}
    for key in kinds(Recipe):
        elsewhere.setdefault(key.rpartition(".")[2], []).append(key)
    own = difflib.get_close_matches(name, hints, n=1)
    close = [name] if name in elsewhere else difflib.get_close_matches(name, elsewhere, n=1)
    if close and (close == [name] or not own):
        meant = elsewhere[close[0]]
        told = f"did you mean {' or '.join(meant)}?"
        if close == [name] and len(meant) == 1:
            told = f"{name} is {meant[0]} (--{meant[0]} VALUE)"
        return f"{where}{name} is not a recipe key{group}; {told}"
    return f"{where}{name} is not a recipe key{group}{nearest(name, hints)}"


def _checked(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UserError(f"{where} is {shown(value)}; it must be a group of settings")
        return build(typing.cast(type, kind), value, f"{where}.")
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        return _checked(next(option for option in typing.get_args(kind) if option is not type(None)), value, where)
    if typing.get_origin(kind) is list:
        values = value if isinstance(value, list) else [value]
        return [_checked(typing.get_args(kind)[0], one, f"{where}.{i}") for i, one in enumerate(values)]
    if kind is str and isinstance(value, str):
        return value
    if kind is bool:
        value = WORDS.get(value.lower(), value) if isinstance(value, str) else value
        if isinstance(value, bool):
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
    raise UserError(f"{where} is {shown(value)}; give {names[kind]}")
