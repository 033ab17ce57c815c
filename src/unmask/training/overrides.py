"""Recipe keys of the command line: `--model.n_layer 4` over what a recipe file says.

    load_recipe("my.yaml", {"steps": "200", "model.n_layer": "4"})
    given = parsed({"model.n_layer": "4", "steps": "200"})      # {"model.n_layer": 4, "steps": 200}
    apply({"flops": 1e13, "model": {"n_layer": 3}}, given)      # {"steps": 200, "model": {"n_layer": 4}}

A budget on the command line replaces the file's; null takes one away.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.settings import parse_yaml, read_yaml
from unmask.terminal import say
from unmask.training.recipe import build, kinds, old_names, refuse_no_budget, settings_of
from unmask.training.recipe_fields import BUDGETS, Recipe


def parsed(overrides: dict[str, str]) -> dict[str, Any]:
    """Values by dotted key. Raises `UserError` for what cannot be read, and for two that set the same key."""
    values: dict[str, Any] = {}
    types, old = kinds(Recipe), old_names(Recipe)
    for name, text in overrides.items():
        key = name.replace("-", "_")
        if (new := old.get(key)) is not None:
            say(f"unmask: --{key} is called --{new} now, and taken as that")
            key = new
        for other in values:
            if key == other:
                raise UserError(f"--{key} is given twice; leave out one")
            if key.startswith(f"{other}.") or other.startswith(f"{key}."):
                raise UserError(f"--{other} and --{key} are both given; leave out one")
        values[key] = _value(types.get(key), key, text)
    numbers = {name: values[name] for name in BUDGETS if type(values.get(name)) in (int, float)}
    for name, value in numbers.items():
        refuse_no_budget({name: value})
    return values


def _value(kind: Any, key: str, text: str) -> Any:
    """What the words behind a key say: text as it stands where the key takes text, else as in a recipe."""
    if kind is str or kind == str | None:
        if kind is not str and text in ("", "null", "~"):
            return None
        if text[:1] not in ("'", '"'):
            return text
    elif not text.strip():
        raise UserError(f"--{key} has no value; give --{key} VALUE")
    return parse_yaml(text, f"--{key} {text}")


def apply(fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A recipe's mapping with overrides in place. Raises `UserError` where a key's group is none."""
    fields = copy.deepcopy(fields)
    if any(given.get(name) is not None for name in BUDGETS):
        fields = {name: value for name, value in fields.items() if name not in BUDGETS}
    for key, value in given.items():
        *parents, last = key.split(".")
        group = fields
        for parent in parents:
            if group.get(parent) is None:  # also a group that is off, such as `lora: null`
                group[parent] = {}
            group = group[parent]
            if not isinstance(group, dict):
                raise UserError(f"--{key}: {parent} is not a group of settings")
        group[last] = value
    return fields


def load_recipe(path: str | Path, overrides: dict[str, str] | None = None) -> Recipe:
    """The recipe in a YAML file with dotted overrides (values as YAML text). Raises `UserError`."""
    given = parsed(overrides or {})  # what is wrong on the command line comes first
    if not Path(path).exists():
        raise UserError(f"{path} does not exist; give a recipe, such as recipes/demo-mdm.yaml")
    return build(Recipe, apply(settings_of(read_yaml(path), str(path)), given), "")
