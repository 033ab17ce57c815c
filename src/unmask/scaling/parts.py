"""What a person writes of a sweep: settings that hold for all of it, and parts, in the order in which they run.

    spec = spec_of(read_yaml("sweep.yaml"), "sweep.yaml")

    data: data/sweep
    context: 128
    precision: bf16
    parts:
      - {part: pilot, objective: mdm, flops: [1.6e13], sizes: [64x3], seeds: [0]}
      - part: tuning
        objective: arm
        flops: [8e12]
        sizes: [64x2, 96x3]
        lr_factors: [0.5, 1, 2, 4]
        batch_factors: [0.5, 1, 2]
      - {part: repeats, objective: mdm, unique_tokens: 5e5, epochs: [1, 4, 16], sizes: [112x4], subsets: [0, 1]}

A part's runs are the product of its lists. Every mistake is one line that names the key.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any

from unmask.errors import UserError, nearest
from unmask.model.flops import FLOPS_RULES
from unmask.scaling.rules import OBJECTIVES, Batch, LearningRate
from unmask.scaling.shapes import shapes_of
from unmask.settings import shown
from unmask.training.recipe import checked
from unmask.training.run_folder import flat

T = typing.TypeVar("T")
SCHEMA_VERSION = 1
TYPES = ("fp32", "bf16")
DESIGNS = ("independent", "trunk")
LENGTHS = ("flops", "tokens", "epochs")
RECIPE = {"objective.masking": "fixed", "objective.random_length": 0.0}
SCHEDULE = "optimizer.schedule"
RESOLVED = ("runs", "data_sum")  # what `scale plan` writes beside the settings


@dataclass(frozen=True)
class Scoring:
    """The protocol of every score: the same tokens, the same draws."""

    sequences: int = 2048
    draws: int = 8  # masks a sequence, stratified, with a fixed count; an ARM is exact
    seed: int = 20410


@dataclass(frozen=True)
class Part:
    """Runs that are one product of lists."""

    part: str
    objective: str
    sizes: list[str]
    flops: list[float] = field(default_factory=list)  # one of flops, tokens and epochs says how long
    tokens: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)  # of the data, or of the unique tokens
    seeds: list[int] = field(default_factory=lambda: [0])
    lr: list[float] = field(default_factory=list)  # rates themselves, or
    lr_factors: list[float] = field(default_factory=list)  # times the rule's
    batch: list[int] = field(default_factory=list)  # sequences, or
    batch_factors: list[float] = field(default_factory=list)  # times the rule's
    unique_tokens: float = 0.0  # train on so many tokens alone, again and again; 0: all
    subsets: list[int] = field(default_factory=lambda: [0])  # which ones
    precision: str | None = None  # another type than the sweep's
    design: str = "independent"  # or trunk: one run at a constant rate, and a branch off it at each length (runs.py)
    decay: float = 0.2  # trunk: share of a branch's tokens in which its rate falls
    recipe: dict[str, Any] = field(default_factory=dict)  # recipe keys for these runs alone
    tag: str = ""  # stands in their names
    fit: bool | None = None  # whether laws are fitted to them; null: unless rates, batches or the type are tried

    @property
    def fitted(self) -> bool:
        tried = self.lr or self.lr_factors or self.batch or self.batch_factors or self.precision
        return not tried if self.fit is None else self.fit


@dataclass(frozen=True)
class Spec:
    """All that decides a sweep."""

    data: str = ""  # a prepared folder; a plan may be made without one, on the vocabulary alone
    vocab: int = 0  # 0: the data's
    context: int = 128
    flops_rule: str = "exact"
    precision: str = "fp32"  # or bf16; auto: whichever is faster, measured by `scale plan`
    compile: bool | None = None  # null: by shape, as measured; eager where nothing was
    jobs: int = 2
    threads: int = 1
    warmup: float = 0.05  # share of the steps
    most_epochs: float = 4.0  # of the whole data; a run that would repeat it more often is refused
    scoring: Scoring = field(default_factory=Scoring)
    lr: dict[str, LearningRate] = field(default_factory=lambda: {name: LearningRate() for name in OBJECTIVES})
    batch: dict[str, Batch] = field(default_factory=lambda: {name: Batch() for name in OBJECTIVES})
    recipe: dict[str, Any] = field(default_factory=lambda: dict(RECIPE))  # keys of every run's recipe
    parts: list[Part] = field(default_factory=list)


def spec_of(fields: Any, where: str) -> Spec:
    """Checked. Raises `UserError` naming the key that is wrong."""
    if not isinstance(fields, dict):
        raise UserError(f"{where} is no plan: it must hold `key: value` lines")
    version = fields.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise UserError(f"{where}: schema_version is {shown(version)}, this version reads {SCHEMA_VERSION}")
    given = {name: value for name, value in fields.items() if name not in ("schema_version", *RESOLVED)}
    spec = from_fields(Spec, given, f"{where}: ")
    check(spec, where)
    return spec


def check(spec: Spec, where: str) -> None:
    """Raises `UserError` for what contradicts itself."""
    if not spec.data and not spec.vocab:
        raise UserError(f"{where}: data is missing; give --data FOLDER, or --vocab SIZE to plan without")
    if spec.precision not in (*TYPES, "auto"):
        raise UserError(f"{where}: precision is {shown(spec.precision)}; give {', '.join(TYPES)} or auto")
    if spec.flops_rule not in FLOPS_RULES:
        raise UserError(f"{where}: flops_rule is {shown(spec.flops_rule)}; give {' or '.join(FLOPS_RULES)}")
    positive = ("context", "jobs", "threads", "most_epochs", "scoring.sequences", "scoring.draws")
    for name in positive:
        group, _, last = name.rpartition(".")
        if not (value := getattr(spec.scoring if group else spec, last)) > 0:
            raise UserError(f"{where}: {name} is {value}; give more than 0")
    if spec.scoring.draws < 2:
        raise UserError(f"{where}: scoring.draws is {spec.scoring.draws}; give at least 2, for a standard error")
    if not 0 <= spec.warmup < 1:
        raise UserError(f"{where}: warmup is {spec.warmup}; give a share of the steps, from 0 to below 1")
    for name in {*spec.lr, *spec.batch} - set(OBJECTIVES):
        raise UserError(f"{where}: rules are given for '{name}'{nearest(name, OBJECTIVES)}; give mdm or arm")
    for i, part in enumerate(spec.parts):
        check_part(part, f"{where}: parts.{i} ({part.part})")
        if part.part in (other.part for other in spec.parts[:i]):
            raise UserError(f"{where}: two parts are called {part.part}; give each its own name")


def check_part(part: Part, where: str) -> None:
    for name, value, options in (
        ("objective", part.objective, OBJECTIVES),
        ("design", part.design, DESIGNS),
        ("precision", part.precision, (None, *TYPES)),
    ):
        if value not in options:
            known = [option for option in options if option is not None]
            raise UserError(f"{where}: {name} is {shown(value)}{nearest(str(value), known)}; give {' or '.join(known)}")
    lengths = [name for name in LENGTHS if getattr(part, name)]
    if len(lengths) != 1:
        given = " and ".join(lengths) or "none"
        raise UserError(f"{where}: give exactly one of flops, tokens and epochs, not {given}")
    for one, other in (("lr", "lr_factors"), ("batch", "batch_factors")):
        if getattr(part, one) and getattr(part, other):
            raise UserError(f"{where}: {one} and {other} are both given; leave out one")
    for name in ("sizes", "seeds", "subsets"):
        if not getattr(part, name):
            raise UserError(f"{where}: {name} is empty; give at least one")
    shapes_of(part.sizes)
    for name in (*LENGTHS, "lr", "lr_factors", "batch", "batch_factors", "seeds", "subsets"):
        values = getattr(part, name)
        least = 0 if name in ("seeds", "subsets") else 1 if name == "batch" else math.ulp(0.0)
        if wrong := [value for value in values if value < least]:
            raise UserError(f"{where}: {name} holds {wrong[0]:g}; give {'at least 0' if not least else 'more than 0'}")
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise UserError(f"{where}: {name} holds {twice[0]:g} twice; leave out one")
    if not 0 < part.decay < 1:
        raise UserError(f"{where}: decay is {part.decay:g}; give a share of a branch's tokens, above 0 and below 1")
    if part.design != "trunk" and part.decay != Part.decay:
        raise UserError(f"{where}: decay is of branches; give design: trunk too")
    if part.design == "trunk" and SCHEDULE in flat(part.recipe):
        raise UserError(f"{where}: recipe holds {SCHEDULE}, which the design says; leave it out")
    if part.unique_tokens < 0:
        raise UserError(f"{where}: unique_tokens is {part.unique_tokens:g}; it must not be negative")
    if part.subsets != [0] and not part.unique_tokens:
        raise UserError(f"{where}: subsets are of unique_tokens; give that too")


def from_fields(cls: type[T], fields: dict[str, Any], where: str) -> T:
    """A dataclass from a mapping, each key and type checked. Raises `UserError` naming the key that is wrong."""
    hints = typing.get_type_hints(cls)
    for name in fields:
        if name not in hints:
            raise UserError(f"{where}{name} is not a key of a plan{nearest(str(name), hints)}")
    known = dataclasses.fields(typing.cast(Any, cls))
    required = [f.name for f in known if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in required if name not in fields]:
        raise UserError(f"{where}{missing[0]} is missing")
    values = {name: checked(hints[name], value, f"{where}{name}", from_fields) for name, value in fields.items()}
    for name, rule in (("lr", LearningRate), ("batch", Batch)):  # an objective that is not named keeps its own
        if cls is Spec and name in values:
            values[name] = {**{key: rule() for key in OBJECTIVES}, **values[name]}
    if cls is Spec and "recipe" in values:  # so do the keys that are not
        values["recipe"] = {**RECIPE, **flat(values["recipe"])}
    return cls(**values)
