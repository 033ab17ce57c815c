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
import os
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from unmask.data.sft_fields import SFTFields
from unmask.errors import UserError, nearest
from unmask.model.presets import preset
from unmask.options import declared
from unmask.settings import shown
from unmask.terminal import say
from unmask.training.recipe_fields import BUDGETS, Recipe, fork_of

T = typing.TypeVar("T")
SCHEMA_VERSION = 1
LEAST = {"steps": 1.0, "tokens": 1.0, "flops": 1.0, "epochs": 0.0}
RECORDED = ("schema_version", "extensions")  # what a run's recipe.yaml holds beside the settings
WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
SHAPE = ("n_layer", "n_head", "n_embd", "n_kv_head", "intermediate_size", "head_dim")


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
    return renamed(Recipe, {name: value for name, value in fields.items() if name not in RECORDED}, where)


def renamed(cls: type, fields: dict[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """Settings with the keys of older versions under their names of today, each told in a line.

    Raises `UserError` where both are there.
    """
    old, groups = old_names(cls), group_types(cls)
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if name in groups and isinstance(value, dict):
            value = renamed(groups[name], value, where, f"{prefix}{name}.")
        if (new := old.get(name)) is not None:
            if new in fields:
                raise UserError(f"{where}: {prefix}{name} is {prefix}{new} by its old name; leave out one")
            say(f"unmask: {where}: {prefix}{name} is called {prefix}{new} now, and taken as that")
        kept[new or name] = value
    return kept


def old_names(cls: type, prefix: str = "") -> dict[str, str]:
    """Dotted keys of older versions with those of today; a dotted one is of a group's."""
    old = {f"{prefix}{key.declared.was}": f"{prefix}{key.name}" for key in declared(cls) if key.declared.was}
    for name, group in group_types(cls).items():
        old |= old_names(group, f"{prefix}{name}.")
    return old


def group_types(cls: type) -> dict[str, type]:
    """The dataclasses among a class's fields."""
    groups = {}
    for name, kind in typing.get_type_hints(cls).items():
        parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        if group := next((part for part in parts if dataclasses.is_dataclass(part)), None):
            groups[name] = typing.cast(type, group)
    return groups


def build(cls: type[T], fields: dict[str, Any], where: str) -> T:
    """A (nested) dataclass from a mapping, each key and type checked."""
    names = {field.name for field in dataclasses.fields(typing.cast(Any, cls))}
    hints = {name: kind for name, kind in typing.get_type_hints(cls).items() if name in names}
    values = {}
    for name, value in fields.items():
        if name not in hints:
            raise UserError(_unknown(str(name), where, hints))
        if name in BUDGETS and value is None and not where:
            continue  # as if it were not given
        values[name] = checked(hints[name], value, f"{where}{name}", build)
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
    names, groups = {field.name for field in dataclasses.fields(cls)}, group_types(cls)
    by_key: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(cls).items():
        if name in groups:
            by_key |= kinds(groups[name], f"{prefix}{name}.")
        elif name in names:
            by_key[f"{prefix}{name}"] = kind
    return by_key


def differences(now: dict[str, Any], then: dict[str, Any], names: Iterable[str] | None = None) -> str:
    """What two mappings disagree on, or those of `names`, in words; empty where they agree."""
    return "; ".join(
        f"{name} was {then.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(now.keys() | then.keys() if names is None else names)
        if now.get(name) != then.get(name)
    )


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
        hint = f"did you mean {' or '.join(meant)}?"
        if close == [name] and len(meant) == 1:
            hint = f"{name} is {meant[0]} (--{meant[0]} VALUE)"
        return f"{where}{name} is not a recipe key{group}; {hint}"
    return f"{where}{name} is not a recipe key{group}{nearest(name, hints)}"


def checked(kind: Any, value: Any, where: str, group: Callable[[type, dict[str, Any], str], Any]) -> Any:
    """A value from a settings file as its type; `group` makes a dataclass of a mapping. Raises `UserError`."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) or origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {shown(value)}; it must be a group of settings")
        if origin is not dict:
            return group(typing.cast(type, kind), value, f"{where}.")
        own = inside[1]
        return {str(k): v if own is Any else checked(own, v, f"{where}.{k}", group) for k, v in value.items()}
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        return checked(next(option for option in inside if option is not type(None)), value, where, group)
    if origin is list:
        values = value if isinstance(value, list) else [value]
        return [checked(inside[0], item, f"{where}.{i}", group) for i, item in enumerate(values)]
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
